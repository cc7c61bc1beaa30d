"""Images passed through an autoencoder of diffusers, and through a file as synthetic images are: coded photographs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image

from data.errors import InputError
from data.files.archives import FORMATS
from data.oom import with_oom_backoff
from data.store import read_json, write_json

if TYPE_CHECKING:
    from diffusers import AutoencoderKL

FOLDER, RECORD = "autoencoder", "coding.json"
_BATCH = 16  # images at a time, or fewer where so many do not fit the device's memory


class Coder:
    """Passes images through an autoencoder, and through a file: what a generated image has gone through."""

    def __init__(self, vae: AutoencoderKL, jpeg_quality: int | None) -> None:
        self.vae, self.jpeg_quality = vae, jpeg_quality  # None: files lose nothing

    def __call__(self, images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
        """Each image as it comes back from the autoencoder and from its file."""
        coded = reconstruct(self.vae, images)
        if self.jpeg_quality is not None:
            for row, image in enumerate(coded):
                coded[row] = _through_jpeg(image, self.jpeg_quality)
        return coded

    def save(self, model: Path) -> None:
        """Keep the autoencoder in a classifier's folder."""
        self.vae.save_pretrained(model / FOLDER)
        write_json(model / FOLDER / RECORD, {"jpeg_quality": self.jpeg_quality})

    @staticmethod
    def load(model: Path) -> Coder | None:
        """The autoencoder in a classifier's folder, on the CPU; None where there is none. Raises InputError."""
        if not (model / FOLDER).is_dir():
            return None
        from diffusers import AutoencoderKL  # noqa: PLC0415 - seconds, and few classifiers need it

        try:
            quality = read_json(model / FOLDER / RECORD)["jpeg_quality"]
            vae = AutoencoderKL.from_pretrained(model / FOLDER, local_files_only=True)
            return Coder(vae.eval(), None if quality is None else int(quality))
        except (OSError, ValueError, TypeError, KeyError) as fault:
            raise InputError(f"{model / FOLDER}: is no autoencoder that can be loaded; copy the folder anew") from fault


def reconstruct(vae: AutoencoderKL, images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
    """Each image, encoded to the posterior's mean and decoded; a batch that does not fit the memory is halved."""
    parts, _ = with_oom_backoff(lambda part: _reconstructed(vae, images[part]), len(images), _BATCH)
    return np.concatenate(parts) if parts else images.copy()


@torch.inference_mode()
def _reconstructed(vae: AutoencoderKL, images: UInt8[np.ndarray, "n h w 3"]) -> UInt8[np.ndarray, "n h w 3"]:
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float() / 127.5 - 1
    decoded = vae.decode(vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mean).sample.float().clamp(-1, 1)
    whole = (decoded / 2 + 0.5).mul(255).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()
    levels: UInt8[np.ndarray, "n h w 3"] = whole.cpu().numpy()
    return levels


def _through_jpeg(image: UInt8[np.ndarray, "h w 3"], quality: int) -> UInt8[np.ndarray, "h w 3"]:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality, subsampling=0)  # as synthetic images are written
    with Image.open(buffer, formats=FORMATS) as written:
        return np.asarray(written.convert("RGB"))
