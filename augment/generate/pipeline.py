"""One base on its device that wears class after class: weights change in place, nothing is loaded or compiled again.

A class's weights are merged in float32 and cast as they are put in place. Of the base those layers alone are kept in
float32 that some class has changed: beside the device, or on it where that leaves much room.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from augment import device
from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.generate.config import GenerateConfig
from augment.generate.few_step import with_decoder, with_update
from augment.methods import method_of

_COMPILE_FROM = 1000  # images; below, compiling takes longer than it saves
_ROOM = 8  # times what is kept must be free on a device that is to hold it


class Wardrobe:
    """Draws a study's classes with one pipeline, which is loaded when the first of them is worn."""

    def __init__(self, base: BaseConfig) -> None:
        self.base = base
        self._pipe: StableDiffusionPipeline | None = None
        self._made_for: object = None
        self._plain: dict[str, Tensor] = {}  # the base's own, in float32, by names such as unet.conv_in.weight
        self._worn: frozenset[str] = frozenset()
        self._placed = False

    def wear(self, adapter: Path | None, config: GenerateConfig, images: int = 0) -> StableDiffusionPipeline:
        """The pipeline on its device with a class's weights in place; None: the base's own.

        `images` that are to be drawn decide whether compiling pays. Raises BaseError for weights that do not fit.
        """
        method = None if adapter is None else method_of(adapter, base_identity(self.base))
        pipe = self._loaded(config)
        touched = [] if method is None else method.touched(pipe)
        self._keep(touched, config)
        values = {name: self._plain[name] for name in self._worn.difference(touched)}
        if method is not None and adapter is not None:
            values |= method.merged({name: self._plain[name] for name in touched}, adapter)
        self._place(config)
        _put(pipe, values)
        self._worn = frozenset(touched)
        if _compiles(config, pipe.device, images) and pipe.unet._compiled_call_impl is None:  # noqa: SLF001 - no public question
            pipe.unet.compile(fullgraph=True, dynamic=False)
        return pipe

    def empty(self) -> None:
        """Let go of the pipeline and its memory; another class loads it again."""
        self._pipe, self._made_for = None, None
        self._plain, self._worn, self._placed = {}, frozenset(), False
        device.free_memory()

    def _loaded(self, config: GenerateConfig) -> StableDiffusionPipeline:
        made_for = (config.draft, config.taesd, config.precision, config.compile)
        if self._pipe is None or self._made_for != made_for:
            self.empty()  # the one before goes first, to make room
            self._pipe, self._made_for = self._fresh(config), made_for
        return self._pipe

    def _fresh(self, config: GenerateConfig) -> StableDiffusionPipeline:
        """The base in float32 on the CPU, with the distilled parts that the config names."""
        pipe = load_base(self.base)
        if config.draft is not None:
            pipe = with_update(pipe, config.draft)
        return pipe if config.taesd is None else with_decoder(pipe, config.taesd)

    def _keep(self, names: Iterable[str], config: GenerateConfig) -> None:
        """Keep these of the base: no class has changed them yet. Once they are cast they are read anew."""
        missing = [name for name in names if name not in self._plain]
        if missing:
            pipe = self._loaded(config)
            weights = _weights(pipe if pipe.unet.dtype == torch.float32 else self._fresh(config))
            self._plain |= {name: weights[name].clone() for name in missing}

    def _place(self, config: GenerateConfig) -> None:
        if self._placed or self._pipe is None:
            return
        where = device.default_device()
        device.to_device(self._pipe, where, device.dtype_for(where, config.precision))
        if device.spare_memory(where) > _ROOM * sum(weight.nbytes for weight in self._plain.values()):
            self._plain = {name: weight.to(where) for name, weight in self._plain.items()}
        self._placed = True


def _compiles(config: GenerateConfig, where: torch.device, images: int) -> bool:
    pays = device.compiles(where) and images >= _COMPILE_FROM
    return pays if config.compile is None else config.compile


def _weights(pipe: StableDiffusionPipeline) -> dict[str, Tensor]:
    """The tensors that a class may change, by part and path; they share the pipeline's memory."""
    return {
        f"{part}.{path}": tensor.detach()
        for part in ("unet", "text_encoder")
        for path, tensor in getattr(pipe, part).state_dict().items()
    }


def _put(pipe: StableDiffusionPipeline, values: Mapping[str, Tensor]) -> None:
    """Cast and copy into the pipeline's own memory, whose addresses a compiled denoiser knows."""
    weights = _weights(pipe)
    if values:
        with torch.no_grad():
            torch._foreach_copy_([weights[name] for name in values], list(values.values()))
