"""Makes tiny models: the embedded base, and a study's own base from its train part.

    python -m augment.base.pretrain configs/tiny-base.yaml

makes the embedded base from phantoms of the four commonest classes: like Stable Diffusion, it has never seen the
rare ones. An interrupted training is resumed.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
import shutil
from collections.abc import Collection, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from pydantic.dataclasses import dataclass

from augment.base.autoencoder import AutoencoderConfig
from augment.base.config import BaseConfig, OwnBaseConfig, Share
from augment.base.denoiser import DenoiserConfig
from augment.base.identity import base_identity
from augment.base.load import build_own_base, load_base
from augment.base.param_count import BaseParts
from augment.base.provenance import BaseRecord
from augment.base.tiny_model import TinyModelConfig, build_tiny_model
from augment.base.train import TrainingImages, TrainingStages, class_weights, save_base, train_base, training_prompts
from augment.context import Context
from augment.diffusion.sample import require_size
from augment.prompts import PromptConfig
from data.config import STRICT, Seed, load, to_dict
from data.errors import BaseError, ConfigError, exit_code
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.progress import LogProgress, Progress
from data.sources.load import DataConfig, load_manifest
from data.splits.provenance import Provenance

_MIB = 2**20
_SPEED_ONLY = {"autoencoder": {"compile", "checkpointing_steps"}, "denoiser": {"checkpointing_steps"}}
_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, config=STRICT)
class PretrainConfig:
    """A base from random weights: on which images, of which size, for how long."""

    out: str = "runs/base"  # the finished diffusers folder
    work: str = "runs/pretrain"  # images, latents and checkpoints during the training
    seed: Seed = 0
    data: DataConfig = field(default_factory=DataConfig)
    pixels: PixelConfig = field(default_factory=PixelConfig)
    model: TinyModelConfig = field(default_factory=TinyModelConfig)
    autoencoder: AutoencoderConfig = field(default_factory=AutoencoderConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    class_dropout: Share = 0.1  # share of the images whose prompt names no diagnosis


def pretrain(config: PretrainConfig) -> Path:
    """Make the base and return its folder: 16-bit safetensors, and training.json with what it was trained on."""
    work = Path(config.work)
    manifest = load_manifest(config.data, work / "data")
    pixels = load_pixels(manifest, config.pixels, work / "cache", _logged("images"))
    pipe = build_tiny_model(config.model, config.seed)
    prompts = training_prompts(
        manifest, PromptConfig(), class_dropout=config.class_dropout, attribute_dropout=0.0, seed=config.seed
    )
    train_base(
        pipe=pipe,
        images=TrainingImages(pixels=pixels, prompts=prompts),
        stages=TrainingStages(autoencoder=config.autoencoder, denoiser=config.denoiser),
        folder=work,
        seed=config.seed,
        progress=_logged("training"),
    )
    phantoms = config.data.source == "phantom"  # ids of phantoms name no image of any study
    record = BaseRecord(
        images=len(manifest),
        by_class=manifest.counts(),
        provenance=Provenance() if phantoms else Provenance.of(manifest),
        groups="drawn by a program, none of a study's" if phantoms else int(manifest.table["group_id"].nunique()),
        details={"config": to_dict(config)},
    )
    return save_base(pipe, pixels, record, Path(config.out))


def pretrain_own(
    *, base: BaseConfig, part: Manifest, context: Context, out: Path, progress: Progress | None = None
) -> None:
    """Train a study's own base on a part of its images and write it to `out`, a diffusers folder like any other.

    Its training.json has the provenance of this part and of the base that it is continued from. An interrupted call
    is resumed from `out`. Raises ConfigError for model sizes that cannot be built, TrainingError.
    """
    own, parent = base.own, base.parent
    if own is None:
        raise ValueError(f"the base {base.source} is not the study's own to train")
    pipe = _initial_pipe(own, parent, context)
    pixels = load_pixels(part, context.pixels, context.cache)
    dropout = {"class_dropout": own.class_dropout, "attribute_dropout": own.attribute_dropout}
    prompts = training_prompts(part, context.prompts, **dropout, seed=context.seed)
    weights = class_weights(part, own.class_balance) if own.class_balance else None
    checkpoints = out / "checkpoint"
    train_base(
        pipe=pipe,
        images=TrainingImages(pixels=pixels, prompts=prompts, weights=weights),
        stages=TrainingStages(autoencoder=own.autoencoder, denoiser=own.denoiser),
        folder=checkpoints,
        seed=context.seed,
        progress=progress or _silent,
    )
    details = {
        "config": own.to_dict(),
        "init_from": base_identity(base)["init_from"],
        "pixels": to_dict(context.pixels),
        "prompts": to_dict(context.prompts),
        "seed": context.seed,
    }
    save_base(pipe, pixels, dataclasses.replace(BaseRecord.of(part, parent), details=details), out)
    shutil.rmtree(checkpoints)


def own_base_settings(own: OwnBaseConfig) -> dict[str, Any]:
    """The settings that the weights depend on, as plain JSON; the images and the base before are not among them."""
    settings = own.to_dict()
    del settings["classes"], settings["init_from"]
    for stage, ignored in _SPEED_ONLY.items():
        if settings[stage] is not None:
            settings[stage] = {name: value for name, value in settings[stage].items() if name not in ignored}
    return settings


def own_base_part(own: OwnBaseConfig, train: Manifest, rare: Collection[str]) -> Manifest:
    """The images of the train part that a study's own base is trained on. Raises ConfigError if there are none.

    Without `classes` in its config these are the images of all but the rare classes.
    """
    unknown = sorted(set(own.classes) - set(train.labels))
    if unknown:
        raise ConfigError(
            f"base.pretrain.classes names {unknown[0]!r}, which no image bears; labels: {', '.join(train.labels)}"
        )
    classes = own.classes or [label for label in train.labels if label not in rare]
    if not classes:
        raise ConfigError(
            "split.rare holds every class, so the base would see none; name some in base.pretrain.classes"
        )
    return train.where(train.table["label"].isin(classes))


def own_base_bytes(parts: BaseParts) -> int:
    """Bytes that a finished base takes on disk, at most: 16-bit weights, configs and tokenizer."""
    return 2 * parts.param_count("unet", "text_encoder", "vae") + _MIB


def own_base_checkpoint_bytes(own: OwnBaseConfig, parts: BaseParts, images: int, size: int) -> int:
    """Bytes on disk during the training, at most: each checkpoint beside the one before, and the latents.

    The denoiser's has weights, their EMA and two moments; latents have mean and deviation, of mirror images too.
    """
    denoiser = 4 * 4 * parts.param_count("unet", "text_encoder")
    autoencoder = (3 + 1) * 4 * parts.param_count("vae") if own.autoencoder else 0
    return 2 * (denoiser + autoencoder) + 2 * 2 * 4 * images * parts.latent_size(size) + _MIB


def _initial_pipe(own: OwnBaseConfig, parent: BaseConfig | None, context: Context) -> StableDiffusionPipeline:
    """The pipeline that the training begins with, configured for images of the study's size."""
    size = context.pixels.size
    if parent is None:
        pipe = build_own_base(own, size, context.seed)
    else:
        pipe = load_base(parent)
        if pipe.vae.config.scaling_factor != 1:
            raise BaseError(f"base.pretrain.init_from: {parent.source} is no tiny model; use it as base.source instead")
    require_size(pipe, size)
    pipe.unet.register_to_config(sample_size=size // pipe.vae_scale_factor)
    pipe.vae.register_to_config(sample_size=size)
    return pipe


def _silent(done: int, total: int, note: str = "") -> None:
    """Report nothing."""


def _logged(stage: str) -> Progress:
    return LogProgress(lambda line: _log.info("%s: %s", stage, line), every=20)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m augment.base.pretrain", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("overrides", nargs="*", metavar="key=value")
    parsed = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    return exit_code(lambda: _run(parsed.config, parsed.overrides), "stopped; the same command again resumes it")


def _run(config: Path, overrides: Sequence[str]) -> int:
    print(pretrain(load(PretrainConfig, config, overrides)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
