"""Photographs that synthetic images are made from: of each image one, drawn by the image's seed.

An image belongs to the leakage group of its photograph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from augment.conditions.images import VIEWS, ConditionImages
from augment.conditions.table import ConditionSource
from augment.methods.record import AdapterRecord
from augment.methods.table import read_settings
from data.config import parse
from data.errors import DataError
from data.manifest import Manifest
from data.pixels import PixelConfig, load_pixels
from data.store import derive_seed, digest


@dataclass(frozen=True, kw_only=True)
class SourceImage:
    """The photograph that one image is made from."""

    image_id: str
    group_id: str
    row: int  # of the photograph
    view: int  # rotation and reflection, 0 to 7


@dataclass(frozen=True, kw_only=True)
class FollowedPhotographs:
    """A class's photographs whose condition images its synthetic images follow."""

    photographs: Manifest
    source: ConditionSource
    pixels: PixelConfig
    is_turned: bool  # True: in any of the eight views, as they were trained on

    def of_image(self, seed: int) -> SourceImage:
        """The photograph of the image with this seed."""
        table, row = self.photographs.table, derive_seed(seed, "source") % len(self.photographs)
        view = derive_seed(seed, "view") % VIEWS if self.is_turned else 0
        return SourceImage(
            image_id=table["image_id"].iloc[row], group_id=table["group_id"].iloc[row], row=row, view=view
        )

    def condition_images(self) -> ConditionImages:
        """The condition image of each photograph. Raises DataError."""
        return self.source.images(load_pixels(self.photographs, self.pixels), self.photographs, self.pixels)

    def to_record(self) -> dict[str, object]:
        """What the images depend on, as plain JSON."""
        own = self.source.identity(self.photographs)
        files = digest(self.photographs.digest(), *own.values())
        return {"condition": self.source.name, "images": len(self.photographs), "sha256": files}


def followed(adapter: Path | None, photographs: Manifest | None, size: int) -> FollowedPhotographs | None:
    """What images made with an adapter follow; None: nothing, as with most methods.

    Raises DataError where they follow photographs and there are none.
    """
    if adapter is None:
        return None
    record = AdapterRecord.read(adapter)
    settings = read_settings(adapter, record)
    source = settings.condition_source
    if source is None:
        return None
    if photographs is None or not len(photographs):
        raise DataError(
            f"{adapter}: images of a {record.display_name} follow the class's train photographs, and there are none; "
            "give those that it was trained on"
        )
    pixels = parse(PixelConfig, {**record.pixels, "size": size}, str(adapter))
    return FollowedPhotographs(photographs=photographs, source=source, pixels=pixels, is_turned=settings.dihedral)


def index_of(sources: Sequence[SourceImage | None]) -> list[tuple[int, int]]:
    """Rows and views of the condition images, for those images that have some."""
    return [(source.row, source.view) for source in sources if source is not None]
