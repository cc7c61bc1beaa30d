"""Real images, encoded and decoded by the base's autoencoder: the coding of synthetic images with real content.

They are written in the format of the synthetic images, so that they carry every trace that those do. Under mixed coding
such images of every class stand beside the photographs; an arm of them, repeated like those of *oversampled*, measures
the effect of the coding alone on a classifier.
"""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import UInt8
from torch import nn

from augment.base.config import BaseConfig
from augment.base.load import load_base
from augment.base.provenance import base_provenance
from augment.device import default_device
from augment.generate.config import GenerateConfig
from augment.generate.image_writer import ImageWriter
from augment.generate.mark import ALTERED
from data.coding import reconstruct
from data.errors import DataError
from data.manifest import COLUMNS, Manifest, read_table
from data.pixels import PixelConfig, load_pixels
from data.progress import Progress
from data.splits.provenance import Provenance
from data.spreadsheet import neutral
from data.store import write_json, write_text

LINEAGE = "autoencoded:"  # before the id of the image
METADATA, RECORD = "metadata.csv", "autoencoded.json"
_PENDING = 64  # images that may wait to be written
_BATCH = 16  # images coded at a time


def autoencode(
    *,
    base: BaseConfig,
    part: Manifest,
    pixels: PixelConfig,
    written: GenerateConfig,
    out: Path,
    cache: Path | None = None,
    progress: Progress,
) -> None:
    """Write each image of `part` once, encoded and decoded, under out/images, with metadata.csv and a record.

    `written` has the format of the files.

    Each keeps its leakage group: it shows the same lesion. The record holds the mean PSNR in dB and the
    provenance of base and images.
    """
    vae = load_base(base).vae.to(default_device())
    images, ids = load_pixels(part, pixels, cache), list(part.table["image_id"])
    (out / "images").mkdir(parents=True, exist_ok=True)
    names, quality = [], list[float]()
    with ImageWriter(out, written.format, written.jpeg_quality, _PENDING, ALTERED) as writer:
        for start in range(0, len(images), _BATCH):
            batch = images[start : start + _BATCH]
            coded, decibels = _coded(vae, batch)
            for row, image in enumerate(coded, start):
                names.append(f"images/{row:06d}-{Path(ids[row]).name}.{written.format}")
                writer.add(names[-1], image)
            quality += decibels
            progress(start + len(batch), len(images))
    write_text(out / METADATA, _metadata(part, names))
    seen = base_provenance(base) | Provenance.of(part)
    record = {"images": len(images), "psnr_db": round(float(np.mean(quality)), 2), "provenance": seen.to_record()}
    write_json(out / RECORD, record)


def autoencoded_image_bytes(pixels: PixelConfig) -> int:
    """Bytes of one image on disk, at most."""
    return pixels.size**2 * 3 + 2**11


def autoencoded_manifest(folder: Path, root_name: str, roots: dict[str, Path]) -> Manifest:
    """The images that `autoencode` wrote into a folder, with the leakage groups of their sources."""
    table, place = read_table(folder / METADATA), folder.relative_to(roots[root_name])
    paths = [(place / name).as_posix() for name in table["file_name"]]
    ids = "autoencoded-" + table["source_id"]
    columns = {**dict.fromkeys(COLUMNS, ""), "image_id": ids, "root": root_name, "path": paths}
    columns |= {"label": table["label"], "group_id": table["group_id"], "source": "synthetic"}
    return Manifest(pd.DataFrame({**columns, "lineage": LINEAGE + table["source_id"]}, dtype=str), roots)


def recoded(part: Manifest, coded: Manifest) -> Manifest:
    """The rows of a part with their files replaced by the coded ones; `coded` is of `autoencoded_manifest`.

    Raises DataError for an image that was not coded.
    """
    files = coded.table.set_index(coded.table["lineage"].str.removeprefix(LINEAGE))[["root", "path"]]
    missing = sorted(set(part.table["image_id"]) - set(files.index))
    if missing:
        raise DataError(f"{missing[0]!r} was not passed through the autoencoder; delete that artefact and run again")
    own = files.loc[part.table["image_id"]]
    return Manifest(part.table.assign(root=own["root"].to_numpy(), path=own["path"].to_numpy()), coded.roots)


def _coded(vae: nn.Module, images: UInt8[np.ndarray, "n h w 3"]) -> tuple[UInt8[np.ndarray, "n h w 3"], list[float]]:
    """Each image coded and decoded, and its PSNR in dB; fewer at a time where they do not fit the device's memory."""
    coded = reconstruct(vae, images)
    return coded, psnr_of(images, coded)


def psnr_of(images: UInt8[np.ndarray, "n h w 3"], coded: UInt8[np.ndarray, "n h w 3"]) -> list[float]:
    """Peak signal-to-noise ratio of each coded image, dB; 100 for one that is equal."""
    errors = np.square(images.astype(np.float64) - coded).mean(axis=(1, 2, 3)) / 255**2
    return [float(each) for each in -10 * np.log10(np.maximum(errors, 1e-10))]


def _metadata(part: Manifest, names: list[str]) -> str:
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(["file_name", "label", "source_id", "group_id"])
    columns = (map(neutral, part.table[name]) for name in ("label", "image_id", "group_id"))
    writer.writerows(zip(names, *columns, strict=True))
    return buffer.getvalue()
