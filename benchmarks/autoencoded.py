"""How much of what synthetic images do to a classifier is the decoder's doing? A control arm for any study.

Writes the train part's real images of the rare classes as the base's autoencoder gives them back, a folder a class.
As an arm they differ from *oversampled* in nothing but the coding: what that arm loses, no generator could win back.

    python benchmarks/autoencoded.py CONFIG FOLDER [key=value ...]

Then run the study again with the folder as an arm; what is finished is kept:

    arms: [real, oversampled, synthetic, {folder: FOLDER, name: autoencoded}]
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from augment.autoencoder import psnr, reconstructed
from augment.base import BaseConfig, load_base
from data.errors import exit_code
from data.pixels import load_pixels
from flows.base import base_step
from flows.prepare import base_part, read_images, read_split, split_step
from flows.study import StudyConfig, load_study


def write(config: StudyConfig, out: Path) -> dict[str, float]:
    """Write the images, and give each rare class's mean PSNR in dB. The study's base is made if it is not there."""
    images = read_images(config, _watch)
    split = read_split(split_step(config, images)(_watch).folder, images.manifest.roots)
    base = config.base
    if base.own is not None:
        base = BaseConfig(source=str(base_step(config, images, base_part(config, split))(_watch).folder))
    vae = load_base(base).vae
    quality = {}
    for label in config.split.rare:
        real = split.train.of(label)
        pixels = load_pixels(real, config.pixels, Path(config.runs) / "cache")
        quality[label] = float(np.mean(psnr(vae, pixels)))
        (out / label).mkdir(parents=True, exist_ok=True)
        for name, image in zip(real.table["image_id"], reconstructed(vae, pixels), strict=True):
            Image.fromarray(image).save(out / label / f"{Path(name).name}.png")
    return quality


def _watch(done: int, total: int, note: str = "") -> None:
    if done == total or done % 50 == 0:
        print(f"  {done} of {total} {note}".rstrip(), file=sys.stderr, flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and give its exit code."""
    parser = argparse.ArgumentParser(prog="autoencoded", description="Pass rare real images through the autoencoder.")
    parser.add_argument("config", help="the study")
    parser.add_argument("folder", type=Path, help="where the images go, a folder a class")
    parser.add_argument("overrides", nargs="*", help="settings of the study, as key=value")
    given = parser.parse_args(arguments)
    return exit_code(lambda: _report(write(load_study(given.config, given.overrides), given.folder)))


def _report(quality: Mapping[str, float]) -> int:
    for label, decibels in quality.items():
        print(f"{label}: {decibels:.1f} dB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
