"""Captions by BLIP, from weights that are on this machine; nothing is downloaded. Li et al. 2022."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
import transformers  # its classes are imported when they are first used
from transformers.utils.hub import cached_file

from augment.device import default_device
from data.errors import BaseError
from data.files.images import read_rgb
from data.store import digest, file_sha256

_log = logging.getLogger(__name__)

_BATCH = 8  # images
_MOST_TOKENS = 30  # of a caption
_WEIGHTS = "*.safetensors"


def blip_captions(paths: Sequence[Path], source: str) -> list[str]:
    """A caption of each image, the most probable word at each step; "" for all where no weights are at hand.

    `source` is a folder, or a hub id that the hub's cache holds. Raises BaseError for weights that cannot be used.
    """
    folder = _folder(source)
    if not paths:
        return []
    if folder is None:
        _log.warning(
            "prompts.captions: no safetensors weights of %s are on this machine, so prompts name what the table knows; "
            "let prompts.blip name the folder of a BLIP",
            source,
        )
        return [""] * len(paths)
    processor, model = _load(folder)
    size = model.config.vision_config.image_size
    captions = list[str]()
    for start in range(0, len(paths), _BATCH):
        images = [read_rgb(path, size) for path in paths[start : start + _BATCH]]
        pixels = processor(images=images, return_tensors="pt").pixel_values.to(model.device)
        with torch.inference_mode():
            tokens = model.generate(pixel_values=pixels, max_new_tokens=_MOST_TOKENS, num_beams=1, do_sample=False)
        captions += processor.batch_decode(tokens, skip_special_tokens=True)
    return captions


def blip_identity(source: str) -> str | None:
    """Digest of the weights; None where none are at hand."""
    folder = _folder(source)
    return None if folder is None else digest([file_sha256(path) for path in sorted(folder.glob(_WEIGHTS))])


def _folder(source: str) -> Path | None:
    """The folder of the weights, on disk or in the hub's cache."""
    folder = Path(os.path.expandvars(source)).expanduser()
    if not folder.is_dir():
        try:
            cached = cached_file(source, "config.json", local_files_only=True)
        except (OSError, ValueError):
            return None
        folder = Path(str(cached)).parent
    return folder if any(folder.glob(_WEIGHTS)) else None


def _load(folder: Path) -> tuple[Any, Any]:
    """Processor and model, in float32 on the device."""
    try:
        processor = transformers.BlipProcessor.from_pretrained(folder, local_files_only=True)
        model: Any = transformers.BlipForConditionalGeneration.from_pretrained(
            folder, local_files_only=True, dtype=torch.float32, use_safetensors=True
        )
    except Exception as fault:  # transformers and safetensors raise anything
        reason = " ".join(str(fault).split())[:200]
        raise BaseError(f"{folder}: cannot be loaded as BLIP ({reason}); copy or fetch it anew") from fault
    return processor, model.eval().to(default_device())
