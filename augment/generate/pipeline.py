"""One loaded pipeline whose adapter weights are swapped in place: nothing is loaded or compiled again for a class.

An adapter's weights are merged in float32 and cast as they are copied. Of the base, only layers that some adapter
changes are kept in float32: in main memory, or on the device if it has much memory free. What a method adds to the
base is installed as the pipeline is loaded; only an adapter that needs other additions loads it again.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from augment import device as devices
from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.load import load_base
from augment.generate.config import GenerateConfig
from augment.generate.few_step import with_few_step_lora, with_taesd
from augment.methods.contract import Adapter
from augment.methods.table import read_adapter

_COMPILE_FROM = 1000  # images; below, compiling takes longer than it saves
_MIN_SPARE_MEMORY = 8  # times the kept weights must be free on a device that is to hold them


class AdapterPipeline:
    """A base's pipeline for all classes of a study, loaded with the first adapter."""

    def __init__(self, base: BaseConfig) -> None:
        self.base = base
        self._pipe: StableDiffusionPipeline | None = None
        self._loaded_for: object = None  # settings that need another pipeline
        self._installed: Hashable = None  # what the pipeline has beside the base, see `Adapter.installs`
        self._base_weights: dict[str, Tensor] = {}  # in float32, by names such as unet.conv_in.weight
        self._adapted: frozenset[str] = frozenset()  # names of the weights that the present adapter changed
        self._is_on_device = False

    def load_adapter(self, folder: Path | None, config: GenerateConfig, images: int = 0) -> StableDiffusionPipeline:
        """The pipeline on its device with a class's adapter merged; None: the base's own weights.

        The number of images to generate decides whether compiling pays. Raises BaseError for weights that do not fit.
        """
        adapter = None if folder is None else read_adapter(folder, base_identity(self.base))
        pipe = self._load(config, adapter)
        targets = [] if adapter is None else adapter.target_weights(pipe)
        if adapter is not None:
            self._keep_base_weights(targets, config, adapter)
        self._to_device(config)  # before merging, so that the first adapter's sums are rounded as the later ones' are
        values = {name: self._base_weights[name] for name in self._adapted.difference(targets)}
        if adapter is not None:
            values |= adapter.merge({name: self._base_weights[name] for name in targets})
        _copy_weights(pipe, values)
        self._adapted = frozenset(targets)
        if _compiles(config, pipe.device, images) and pipe.unet._compiled_call_impl is None:  # noqa: SLF001 - torch has no public way to ask
            pipe.unet.compile(fullgraph=True, dynamic=False)
        return pipe

    def unload(self) -> None:
        """Drop the pipeline and free its memory; the next adapter loads it again."""
        self._pipe, self._loaded_for, self._installed = None, None, None
        self._base_weights, self._adapted, self._is_on_device = {}, frozenset(), False
        devices.free_memory()

    def _load(self, config: GenerateConfig, adapter: Adapter | None) -> StableDiffusionPipeline:
        settings = (config.few_step, config.taesd, config.precision, config.compile)
        installs = self._installed if adapter is None else adapter.installs
        if self._pipe is None or self._loaded_for != settings or self._installed != installs:
            self.unload()  # first, so that two pipelines are never in memory
            self._pipe = self._fresh(config, adapter)
            self._loaded_for, self._installed = settings, None if adapter is None else installs
        return self._pipe

    def _fresh(self, config: GenerateConfig, adapter: Adapter | None) -> StableDiffusionPipeline:
        """The base in float32 on the CPU, with the distilled parts of the config and the adapter's additions, empty."""
        pipe = load_base(self.base)
        if config.few_step is not None:
            pipe = with_few_step_lora(pipe, config.few_step)
        if config.taesd is not None:
            pipe = with_taesd(pipe, config.taesd)
        if adapter is not None:
            adapter.install(pipe)
        return pipe

    def _keep_base_weights(self, names: Iterable[str], config: GenerateConfig, adapter: Adapter) -> None:
        """Keep the base's own values of these weights; once the pipeline is cast, they are read from disk again."""
        missing = [name for name in names if name not in self._base_weights]
        if missing:
            pipe = self._load(config, adapter)
            weights = _weights(pipe if pipe.unet.dtype == torch.float32 else self._fresh(config, adapter))
            self._base_weights |= {name: weights[name].clone() for name in missing}

    def _to_device(self, config: GenerateConfig) -> None:
        if self._is_on_device or self._pipe is None:
            return
        device = devices.default_device()
        devices.to_device(self._pipe, device, devices.dtype_for(device, config.precision))
        kept = sum(weight.nbytes for weight in self._base_weights.values())
        if devices.spare_memory(device) > _MIN_SPARE_MEMORY * kept:
            self._base_weights = {name: weight.to(device) for name, weight in self._base_weights.items()}
        self._is_on_device = True


def _compiles(config: GenerateConfig, device: torch.device, images: int) -> bool:
    pays = devices.compiles(device) and images >= _COMPILE_FROM
    return pays if config.compile is None else config.compile


def _weights(pipe: StableDiffusionPipeline) -> dict[str, Tensor]:
    """The tensors that an adapter may change, by part and path; they share the pipeline's memory."""
    return {
        f"{part}.{path}": tensor.detach()
        for part in ("unet", "text_encoder")
        for path, tensor in getattr(pipe, part).state_dict().items()
    }


def _copy_weights(pipe: StableDiffusionPipeline, values: Mapping[str, Tensor]) -> None:
    """Cast and copy into the pipeline's own memory, whose addresses a compiled UNet refers to."""
    weights = _weights(pipe)
    if values:
        with torch.no_grad():
            torch._foreach_copy_([weights[name] for name in values], list(values.values()))
