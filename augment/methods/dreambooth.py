"""DreamBooth: the whole UNet learns to bind a rare word to the class, saved as a diffusers folder.

Ruiz et al. 2023. What keeps the base's other lesions alive, the prior preservation, is in the batches
and not here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from augment.device import cast, copied
from augment.methods.weights import read_weights, with_parts

FILES = {"unet": "diffusion_pytorch_model.safetensors", "text_encoder": "model.safetensors"}


@dataclass(frozen=True, kw_only=True)
class DreamBooth:
    """Every weight of the UNet, and of the text encoder if asked for."""

    text_encoder: bool = False

    def open(self, pipe: StableDiffusionPipeline, seed: int) -> StableDiffusionPipeline:  # noqa: ARG002 - nothing is drawn
        """Copies in float32: the base's own weights are where it starts."""
        parts = {name: copied(getattr(pipe, name), getattr(pipe, name).device, torch.float32) for name in self._parts()}
        return with_parts(pipe, **{name: part.requires_grad_(requires_grad=True) for name, part in parts.items()})

    def touched(self, pipe: StableDiffusionPipeline) -> list[str]:
        """All of the parts that were trained."""
        return [f"{part}.{path}" for part in self._parts() for path in getattr(pipe, part).state_dict()]

    def merged(self, plain: Mapping[str, Tensor], folder: Path) -> dict[str, Tensor]:
        """The saved weights: of the base's own the shapes alone matter."""
        found: dict[str, Tensor] = {}
        for part in self._parts():
            own = {name.removeprefix(f"{part}."): name for name in plain if name.startswith(f"{part}.")}
            shapes = {path: tuple(plain[name].shape) for path, name in own.items()}
            read = read_weights(folder / part / FILES[part], shapes)
            found |= {name: read[path] for path, name in own.items()}
        return found

    def save(self, pipe: StableDiffusionPipeline, folder: Path) -> Path:
        """In 16 bits; the UNet's file tells one adapter from another."""
        for name in self._parts():
            part = copy.deepcopy(getattr(pipe, name)).to(memory_format=torch.contiguous_format)
            cast(part, torch.float16).to("cpu")
            if name == "unet":  # transformers' config does not keep it
                part.register_to_config(_name_or_path="")  # it would name a place on this machine
            part.save_pretrained(folder / name, max_shard_size="100GB")
        return folder / "unet" / FILES["unet"]

    def apply(self, pipe: StableDiffusionPipeline, folder: Path) -> StableDiffusionPipeline:
        """Copies with the saved weights in place of the base's."""
        parts = {}
        for name in self._parts():
            part = copy.deepcopy(getattr(pipe, name))
            shapes = {key: tuple(value.shape) for key, value in part.state_dict().items()}
            part.load_state_dict(read_weights(folder / name / FILES[name], shapes))
            parts[name] = part
        return with_parts(pipe, **parts)

    def _parts(self) -> tuple[str, ...]:
        return ("unet", "text_encoder") if self.text_encoder else ("unet",)
