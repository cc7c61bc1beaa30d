"""The section `finetune` of a config: the settings of one method, chosen by `method`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Discriminator, Tag
from pydantic.fields import FieldInfo

from augment.base.identity import sha256_of
from augment.methods.contract import NO_EFFECT, FinetuneSettings
from augment.methods.table import METHODS
from data.config import to_dict
from data.errors import ConfigError

_DEFAULT = "lora"


def finetune_union(methods: Mapping[str, type[FinetuneSettings]]) -> Any:  # noqa: ANN401 - a type for pydantic
    """The type of a section that holds the settings of any of these methods; LoRA's where `method` is not given."""
    tagged = tuple(Annotated[settings, Tag(name)] for name, settings in methods.items())
    return Annotated[Union[tagged], Discriminator(_method_of)]  # noqa: UP007 - of a tuple


def _method_of(section: Any) -> str:  # noqa: ANN401 - whatever the YAML holds
    if isinstance(section, Mapping):
        return str(section.get("method", _DEFAULT))
    return str(getattr(section, "method", _DEFAULT))


if TYPE_CHECKING:
    FinetuneConfig = FinetuneSettings
else:
    FinetuneConfig = finetune_union(METHODS)


def result_settings(config: FinetuneSettings) -> dict[str, Any]:
    """The settings that an adapter depends on, as plain JSON.

    All but those marked `NO_EFFECT` beside the field and, where the last step is kept, those of the choice among steps.
    A file that training starts from is its SHA-256. Raises ConfigError for one that is not there.
    """
    fields: dict[str, FieldInfo] = getattr(type(config), "__pydantic_fields__")  # noqa: B009 - unknown to mypy
    without = {name for name in fields if NO_EFFECT in fields[name].metadata} | {"masks"}  # see `ConditionSource`
    if config.select_every is None:
        without |= {"select_every", "select_images", "select_shots", "patience"}
    start = getattr(config, "init_lora", None)
    if start is None:
        without.add("init_lora")
    settings = {name: value for name, value in to_dict(config).items() if name not in without}
    return settings if start is None else {**settings, "init_lora": _sha256_of_start(start)}


def _sha256_of_start(start: str) -> str:
    """The file stands for itself, wherever it lies. Raises ConfigError for one that is not there."""
    if not Path(start).is_file():
        raise ConfigError(f"finetune.init_lora: {start}: no such file; name a LoRA's .safetensors, or leave it out")
    return sha256_of(Path(start))
