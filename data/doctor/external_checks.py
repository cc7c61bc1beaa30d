"""Checks of the external images of an arm: what would stop a study, or make its result invalid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from data.doctor.examination import names, read_infos
from data.doctor.findings import Findings, in_parts
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.progress import Progress
from data.sources.external import (
    ExternalArm,
    copies_fault,
    find_copies,
    originals_of,
    read_external,
    sample_external,
)
from data.splits.split import Split


@dataclass(frozen=True, kw_only=True)
class StudyImages:
    """The data set's readable images, their small pixels in the manifest's order, and how a study divides them."""

    manifest: Manifest
    pixels: UInt8[np.ndarray, "n s s 3"]
    split: Split
    geometry: PixelConfig
    seed: int

    def of(self, part: Manifest) -> tuple[list[str], UInt8[np.ndarray, "m s s 3"]]:
        """The names and pixels of a part."""
        rows = np.flatnonzero(self.manifest.table["image_id"].isin(set(part.table["image_id"])))
        all_names = names(self.manifest)
        return [all_names[row] for row in rows], self.pixels[rows]


def check_arm(
    arm: ExternalArm, study: StudyImages, wanted: Mapping[str, int], progress: Progress, findings: Findings
) -> None:
    """Check that an arm's images are readable, as many as `wanted`, and no copies of validation or test images."""
    try:
        images = read_external(arm, study.manifest.labels)
        readable, _, pixels = read_infos(images, study.geometry, progress, findings.faults.append)
        chosen = sample_external(readable, wanted, study.seed)
    except DataError as fault:
        findings.faults.append(in_parts(str(fault)))
        return
    rows = np.flatnonzero(readable.table["image_id"].isin(set(chosen.table["image_id"])))
    chosen_names = [names(readable)[row] for row in rows]
    for name, part in originals_of(study.split, study.manifest).items():
        if name == "train":
            continue
        originals, original_pixels = study.of(part)
        pairs = find_copies(pixels[rows], original_pixels)
        if pairs:
            copies = [(chosen_names[image], originals[photograph]) for image, photograph in pairs]
            findings.faults.append(copies_fault(copies, name, f"arm {arm.name!r}"))
