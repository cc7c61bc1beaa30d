"""Configuration of the base model: which Stable Diffusion, or how a study trains its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import Field
from pydantic.dataclasses import dataclass

from augment.base.autoencoder import AutoencoderConfig
from augment.base.denoiser import DenoiserConfig
from augment.base.embeddings import embedding_paths
from augment.base.tiny_model import TinyModelConfig
from data.config import STRICT, to_dict
from data.errors import BaseError

TINY = Path(__file__).parent / "tiny"
OWN = "pretrain"  # the source of a base that the study itself trains
WEIGHTS = (".safetensors", ".ckpt")  # of a base in one file

Share = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, kw_only=True, config=STRICT)
class OwnBaseConfig:
    """A base of the study's own, trained on its train part: from which weights, on which classes, for how long."""

    init_from: str = "tiny"  # `tiny`, the folder of another tiny model, or `scratch`: random weights
    classes: tuple[str, ...] = ()  # whose images of the train part it is trained on; () = all but the rare ones
    model: TinyModelConfig = TinyModelConfig()  # only with `scratch`; otherwise the model is that of `init_from`
    autoencoder: AutoencoderConfig | None = None  # None: not trained; with `scratch` it has to be
    denoiser: DenoiserConfig = DenoiserConfig(steps=2000, learning_rate=4e-4)
    class_dropout: Share = 0.1  # share of the images whose prompt names no diagnosis
    attribute_dropout: Share = 0.2  # share of the images whose prompt uses no column of the table
    class_balance: Share = 0.5  # 0: classes as frequent as in the table, 1: all equally frequent

    def __post_init__(self) -> None:
        """Refuse settings that would have no effect, and an invalid `init_from`."""
        if self.init_from == OWN:
            raise ValueError(f"init_from: {OWN} is not a trained base; give `tiny`, `scratch` or a base's folder")
        if self.init_from == "scratch" and self.autoencoder is None:
            raise ValueError(
                "init_from: scratch has no trained autoencoder; give `autoencoder` its settings, or {} for the defaults"
            )
        if self.init_from != "scratch" and self.model != TinyModelConfig():
            raise ValueError(f"`model` is that of {self.init_from} already; remove it, or set init_from: scratch")

    def to_dict(self) -> dict[str, Any]:
        """The settings as plain JSON, without `model` where it has no effect."""
        settings = to_dict(self)
        if self.init_from != "scratch":
            del settings["model"]
        return settings


@dataclass(frozen=True, kw_only=True, config=STRICT)
class BaseConfig:
    """Which Stable Diffusion the study starts from."""

    source: str = "tiny"  # hub id, diffusers folder, .safetensors or .ckpt file, `tiny`, or `pretrain`: its own
    revision: str | None = None  # of a hub id: branch, tag or commit
    config: str | None = None  # of a single file: a diffusers folder with its configs and tokenizer
    embeddings: str | None = None  # folder of learnt words: NAME.safetensors or NAME.pt is NAME in prompts
    pretrain: OwnBaseConfig = OwnBaseConfig()  # how the study trains its own, on its train part alone

    def __post_init__(self) -> None:
        """Refuse training settings for a base that is not trained here."""
        if self.pretrain != OwnBaseConfig() and self.source != OWN:
            raise ValueError(f"`pretrain` says how the study trains a base, but source is {self.source!r}, not {OWN!r}")

    @property
    def own(self) -> OwnBaseConfig | None:
        """How the study trains its own base; None: the base is trained already."""
        return self.pretrain if self.source == OWN else None

    @property
    def parent(self) -> BaseConfig | None:
        """The base that the study's own is continued from; None: random weights, or no base of its own."""
        own = self.own
        return None if own is None or own.init_from == "scratch" else BaseConfig(source=own.init_from)

    @property
    def folder(self) -> Path:
        """Folder or file of a base that is not on a hub."""
        return TINY if self.source == "tiny" else Path(self.source)

    @property
    def on_hub(self) -> bool:
        """Whether the source is a hub id, owner/name."""
        return is_hub_id(self.source)


def is_hub_id(source: str) -> bool:
    """Whether a source is of the form owner/name and no local path."""
    path = Path(source)
    local = path.exists() or path.suffix in WEIGHTS or source.startswith((".", "/", "~"))
    return not local and source.count("/") == 1


def require_base(base: BaseConfig) -> None:
    """Raise BaseError for a base that is neither here nor a hub id; of a study's own, for what it is continued from;
    and for a folder of learnt words that has none.

    No weights are read and no hub is asked, so it is quick enough to come before any other work.
    """
    if base.embeddings is not None:
        embedding_paths(Path(base.embeddings))
    key = "base.pretrain.init_from" if base.own else "base.source"
    source = base.parent if base.own else base
    if source is None or source.source == "tiny" or source.on_hub:
        return
    path = source.folder
    if path.is_dir():
        if not (path / "model_index.json").is_file():
            raise BaseError(f"{key}: {path} has no model_index.json, so it is no diffusers folder; name one that has")
    elif not path.is_file():
        raise BaseError(
            f"{key}: {path}: no such file or folder; give `tiny`, a hub id (owner/name), a diffusers folder, "
            "or one weights file"
        )
    elif base.own or path.suffix not in WEIGHTS:
        kinds = "a diffusers folder" if base.own else "a diffusers folder or one .safetensors or .ckpt file"
        raise BaseError(f"{key}: {path} is a file of another kind; name {kinds}")
    else:
        _require_configs(source)


def _require_configs(base: BaseConfig) -> None:
    """Raise BaseError for a single file without the folder of its configs."""
    if base.config is None:
        raise BaseError(
            f"base.source: {base.source}: a single file needs base.config, a diffusers folder with its configs and "
            "tokenizer"
        )
    if not Path(base.config).is_dir() and not is_hub_id(base.config):
        raise BaseError(f"base.config: {base.config}: no such folder; name a diffusers folder of the same model")
