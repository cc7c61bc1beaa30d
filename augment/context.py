"""What all stages of a study's image generation share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from augment.prompts import PromptConfig
from data.pixels import PixelConfig


@dataclass(frozen=True, kw_only=True)
class Context:
    """Pixels and prompts of a study, its seed, and where decoded images are kept."""

    pixels: PixelConfig
    prompts: PromptConfig
    seed: int
    cache: Path | None = None  # None: decoded images are not kept
