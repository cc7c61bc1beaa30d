"""How much of what synthetic images do to a classifier is the decoder's doing? A control arm for any study.

Writes what *oversampled* repeats, the train part's images of the rare classes, as the base's autoencoder gives them
back, a folder a class. As an arm they differ from *oversampled* in nothing but the coding: what that arm loses, it
loses to the decoder.

    python benchmarks/autoencoded.py CONFIG FOLDER [key=value ...]

Then run the study again with the folder as an arm; what is finished is kept:

    arms: [real, oversampled, synthetic, {folder: FOLDER, name: autoencoded}]
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from flows.base import base_step
from flows.compare import train_part
from jaxtyping import UInt8
from PIL import Image

from augment.base.autoencoder import psnr, reconstruct
from augment.base.config import BaseConfig
from augment.base.load import load_base
from data.errors import exit_code
from data.pixels import load_pixels
from data.splits.class_counts import fill_counts
from data.splits.split import Split
from flows.prepare import Images, base_part, read_images, read_split, shots_of, split_step
from flows.study import StudyConfig, load_study


def write(config: StudyConfig, out: Path) -> dict[str, float]:
    """Write as many images as the arms add, going round each rare class's, and give its mean PSNR in dB.

    The study's base is made if it is not there.
    """
    images = read_images(config, _watch)
    split = read_split(split_step(config, images)(_watch).folder, images.manifest.roots)
    train = train_part(config, split, shots_of(config, split))
    vae = load_base(_base(config, images, split)).vae
    quality = {}
    for label, count in fill_counts(train, config.split.rare, config.fill_to).items():
        real = train.of(label)
        pixels = load_pixels(real, config.pixels, Path(config.runs) / "cache")
        quality[label] = float(np.mean(psnr(vae, pixels)))
        _write(reconstruct(vae, pixels), list(real.table["image_id"]), count, out / label)
    return quality


def _base(config: StudyConfig, images: Images, split: Split) -> BaseConfig:
    if config.base.own is None:
        return config.base
    return BaseConfig(source=str(base_step(config, images, base_part(config, split))(_watch).folder))


def _write(images: UInt8[np.ndarray, "n h w 3"], ids: Sequence[str], count: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        row = number % len(images)
        Image.fromarray(images[row]).save(folder / f"{number:06d}-{Path(ids[row]).name}.png")


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
