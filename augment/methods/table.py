"""The way back from a saved adapter to its method."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from diffusers import StableDiffusionPipeline
from torch import Tensor

from augment.methods import method_of


class _Saved:
    def __init__(self, folder: Path, base: dict[str, Any]) -> None:
        self.folder, self.method = folder, method_of(folder, base)

    def target_weights(self, pipe: StableDiffusionPipeline) -> list[str]:
        return self.method.touched(pipe)

    def merge(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return self.method.merged(weights, self.folder)


def load_adapter(folder: Path, base: dict[str, Any]) -> _Saved:
    """The adapter in a folder."""
    return _Saved(folder, base)
