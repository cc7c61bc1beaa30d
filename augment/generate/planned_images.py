"""Which images are generated: each one's file, seed and prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from augment.prompts import Attributes
from data.store import derive_seed

if TYPE_CHECKING:
    from augment.generate.record import GeneratedImages
    from augment.generate.sources import FollowedPhotographs, SourceImage


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """One image: its file, its seed and its prompt."""

    name: str  # path in the folder
    seed: int
    prompt: str
    attributes: Attributes | None  # of one of the class's real images, which the prompt names; None: of none
    source: SourceImage | None = None  # the photograph that it is made from; None: from none


def plan_images(
    record: GeneratedImages,
    count: int,
    attributes: Sequence[Attributes],
    file_format: str,
    photographs: FollowedPhotographs | None = None,
) -> list[PlannedImage]:
    """Each image by its number: the same however many there are."""
    images = []
    for index in range(count):
        seed = derive_seed(record.seed, record.label, index)
        own = attributes[derive_seed(seed, "attributes") % len(attributes)] if attributes else None
        prompt = (Attributes() if own is None else own).added_to(record.prompt)
        name = f"images/{record.label}-{index:06d}.{file_format}"
        source = None if photographs is None else photographs.of_image(seed)
        images.append(PlannedImage(name=name, seed=seed, prompt=prompt, attributes=own, source=source))
    return images
