"""The photographs that synthetic images are edited from: which one each image has, and its canvas."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, UInt8

from augment.diffusion.edit import Canvases, outpainted
from augment.generate.edit_config import EditConfig
from data.manifest import Manifest
from data.masks import grown, mask_folder, masks_identity, read_masks, threshold_masks
from data.pixels import PixelConfig, load_pixels
from data.store import derive_seed, digest

if TYPE_CHECKING:
    from augment.generate.planned_images import PlannedImage


@dataclass(frozen=True, kw_only=True)
class EditSources:
    """Photographs of the train part that the images of a class are edited from."""

    photographs: Manifest
    identity: str  # digest of their table and bytes
    pixels: PixelConfig
    cache: Path | None = None

    def record(self, config: EditConfig) -> dict[str, Any]:
        """How many there are, and the digest of what edits depend on: their bytes and their masks'.

        Raises DataError for a missing mask.
        """
        masks = [] if config.masks is None else masks_identity(mask_folder(config.masks), self.photographs)
        found = {"images": len(self.photographs), "sha256": self.identity}
        return {**found, "masks": digest(masks)} if masks else found


@dataclass(frozen=True, kw_only=True)
class PlannedEdit:
    """What one image is edited from, and how strongly."""

    row: int  # of the photographs
    image: str  # its id
    group: str  # its leakage group, which the edited image is in too
    label: str
    strength: float


def plan_edit(config: EditConfig, photographs: Manifest, seed: int) -> PlannedEdit:
    """The photograph and the strength of an image's seed; of several classes each is as likely."""
    table = photographs.table
    labels = photographs.labels
    label = labels[derive_seed(seed, "source class") % len(labels)]
    rows = np.flatnonzero(table["label"] == label)
    row = int(rows[derive_seed(seed, "source") % len(rows)])
    strengths = config.chosen_strengths
    return PlannedEdit(
        row=row,
        image=str(table["image_id"][row]),
        group=str(table["group_id"][row]),
        label=str(label),
        strength=strengths[derive_seed(seed, "strength") % len(strengths)],
    )


def edit_columns(config: EditConfig, edit: PlannedEdit) -> Mapping[str, Any]:
    """The columns of metadata.csv for an edited image."""
    columns = {
        "source_image": edit.image,
        "source_group": edit.group,
        "source_label": edit.label,
        "strength": edit.strength,
    }
    return (
        {**columns, "source_weight": round(config.source_weight(edit.strength), 4)}
        if config.source == "other"
        else columns
    )


def canvases_of(config: EditConfig, sources: EditSources, images: Sequence[PlannedImage]) -> Canvases:
    """The canvas of each image. Raises DataError for a photograph or mask that cannot be used."""
    edits = [image.edit for image in images if image.edit is not None]
    rows = sorted({edit.row for edit in edits})
    used = Manifest(sources.photographs.table.iloc[rows].reset_index(drop=True), sources.photographs.roots)
    photographs = load_pixels(used, sources.pixels, sources.cache)
    photographs, redraw = _redrawn(config, used, photographs, sources.pixels)
    place = {row: index for index, row in enumerate(rows)}
    return Canvases(
        photographs=photographs,
        names=list(used.table["image_id"]),
        index=[place[edit.row] for edit in edits],
        strengths=[edit.strength for edit in edits],
        redraw=redraw,
        mask_blur=config.mask_blur,
    )


def _redrawn(
    config: EditConfig, used: Manifest, photographs: UInt8[np.ndarray, "n h w 3"], pixels: PixelConfig
) -> tuple[UInt8[np.ndarray, "n h w 3"], Bool[np.ndarray, "n h w"] | None]:
    """The photographs as they are edited, and where they are redrawn; None: everywhere."""
    if config.mode == "img2img":
        return photographs, None
    if config.mode == "outpaint":
        return outpainted(photographs, config.padding)
    if config.masks is None:
        masks = threshold_masks(list(photographs))
    else:
        masks = read_masks(mask_folder(config.masks), used, pixels)
    masks = grown(masks, config.grow_mask)
    return photographs, masks if config.region == "lesion" else ~masks
