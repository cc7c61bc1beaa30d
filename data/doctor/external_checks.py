"""What the doctor looks for in images made elsewhere that stand as an arm: what would stop a study, or void it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from data.doctor.checks import Notes, in_parts
from data.doctor.examination import examine, names
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig
from data.progress import Progress
from data.sources.external import FolderArm, choose, copies, read_elsewhere
from data.splits.split import Split


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """The data set's readable images, and small pixels of them in the manifest's order."""

    manifest: Manifest
    pixels: UInt8[np.ndarray, "n s s 3"]

    def of(self, ids: set[str]) -> tuple[list[str], UInt8[np.ndarray, "m s s 3"]]:
        """Give the names and pixels of some of them."""
        rows = np.flatnonzero(self.manifest.table["image_id"].isin(ids))
        called = names(self.manifest)
        return [called[row] for row in rows], self.pixels[rows]


def check_arm(
    arm: FolderArm,
    photographs: Photographs,
    split: Split,
    wanted: Mapping[str, int],
    seed: int,
    geometry: PixelConfig,
    watch: Progress,
    notes: Notes,
) -> None:
    """Look whether an arm's images can be read, are as many as `wanted`, and are no copies of what judges them."""
    try:
        read = read_elsewhere(arm, photographs.manifest.labels)
        made, _, pixels = examine(read, geometry, watch, notes.faults.append)
        chosen = choose(made, wanted, seed)
    except DataError as fault:
        notes.faults.append(in_parts(str(fault)))
        return
    taken = np.flatnonzero(made.table["image_id"].isin(set(chosen.table["image_id"])))
    called = [names(made)[row] for row in taken]
    judging = {name: set(split.parts()[name].table["image_id"]) for name in ("validation", "test")}
    if split.left_out:
        judging["left-out"] = set(split.left_out)
    for part, ids in judging.items():
        shown, others = photographs.of(ids)
        pairs = copies(pixels[taken], others)
        notes.fault(
            (f"arm {arm.name!r}: {called[one]} shows nearly the same as {shown[other]} of the {part} part"
             for one, other in pairs),
            "its generator has seen what judges the classifier; make the images anew from the train part alone",
        )  # fmt: skip
