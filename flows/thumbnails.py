"""Thumbnails of the images that a report may show, kept in the run folder so that it needs no data set."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from augment.generate.mark import metadata, stamped
from data.durable import temporary_of
from data.errors import InputError
from data.manifest import Manifest
from data.pixels import PixelConfig, read_image
from flows.plan import Plan
from flows.stages import external, gate, images
from flows.study import REPEATS

FOLDER = "thumbs"
_MOST, _EDGE = 12, 96  # images a class and source; pixels
_PAIRS = 6  # of a synthetic image and its nearest photograph, a class


def thumbnail_bytes() -> int:
    """Bytes of the thumbnails of one class and source, at most."""
    return _MOST * _EDGE**2 * 3


def remove_real_images(run_folder: Path) -> None:
    """Remove what an earlier run kept of the data set's images: thumbnails, and the report that holds them within.

    Done before any work, so that an interrupted run leaves none. Raises InputError for a file that stays.
    """
    for folder in (run_folder, *run_folder.glob(f"{REPEATS}/*")):
        _remove(folder)


def _remove(records: Path) -> None:
    thumbs = [path for name in ("real-*.jpg", "pair-*.jpg") for path in records.glob(f"{FOLDER}/*/{name}")]
    report = records / "report.html"
    for path in (*thumbs, report, *records.glob(temporary_of(report, "*").name)):
        try:
            path.unlink(missing_ok=True)
        except OSError as fault:
            raise InputError(
                f"{path}: holds images of the data set, which embed_real_images: false keeps out of a run's folder, "
                f"and cannot be removed ({fault.strerror}); remove it, or set another name="
            ) from fault


def write_thumbnails(plan: Plan) -> None:
    """Write all thumbnails anew: none stays of a label, an arm or an image that the study no longer has."""
    study, split = plan.prepared.study, plan.prepared.split
    folder, small = study.records / FOLDER, PixelConfig(size=_EDGE, bits=study.pixels.bits)
    if folder.exists():
        shutil.rmtree(folder)
    if study.embed_real_images:
        _write(folder, split.train, "real", small)
        for step in plan.steps_of("gate"):
            _write_pairs(folder / step.what, gate.nearest_pairs(plan, step.what, _PAIRS), small)
    shows_photographs = study.generate.edit is not None  # edited images show much of them
    synthetic = images.read_images(plan)
    if synthetic is not None and (study.embed_real_images or not shows_photographs):
        _write(folder, synthetic, "synthetic", small)
    for step in plan.steps_of("external"):
        _write(folder, external.read_images(plan, step.what), f"arm.{step.what}.", small)


def _write_pairs(folder: Path, pairs: Sequence[gate.Pair], small: PixelConfig) -> None:
    """Each synthetic image and its nearest photograph, which may be all but the same: patients' images both."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, pair in enumerate(pairs):
        for name, path in (("synthetic", pair.synthetic), ("real", pair.real)):
            _write_one(folder / f"pair-{i}-{name}.jpg", read_image(path, small), made=name == "synthetic")


def _write(folder: Path, manifest: Manifest, source: str, small: PixelConfig) -> None:
    """A few images of each class, of distinct groups."""
    for label in manifest.labels:
        few = manifest.of(label)
        few = few.where(~few.table["group_id"].duplicated())
        (folder / label).mkdir(parents=True, exist_ok=True)
        for i, path in enumerate(few.paths()[:_MOST]):
            _write_one(folder / label / f"{source}-{i}.jpg", read_image(path, small), made=source != "real")


def _write_one(path: Path, pixels: UInt8[np.ndarray, "size size 3"], *, made: bool) -> None:
    """Write a thumbnail; one that no camera took bears the mark in its pixels and its metadata."""
    more = metadata("JPEG") if made else {}
    Image.fromarray(stamped(pixels) if made else pixels).save(path, "JPEG", quality=90, **more)
