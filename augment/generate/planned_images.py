"""Which images are generated: each one's file, seed and prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from augment.generate.edit_config import EditConfig
from augment.generate.edit_sources import PlannedEdit, plan_edit
from augment.prompts import Attributes
from data.manifest import Manifest
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
    edit: PlannedEdit | None = None  # what it is edited from; None: nothing but noise
    source: SourceImage | None = None  # the photograph that it follows; None: none


def plan_images(
    record: GeneratedImages,
    count: int,
    attributes: Sequence[Attributes],
    file_format: str,
    edits: tuple[EditConfig, Manifest] | None = None,
    photographs: FollowedPhotographs | None = None,
) -> list[PlannedImage]:
    """Each image by its number: the same however many there are. `edits` are how and from which photographs;
    `photographs` are those that a ControlNet follows.
    """
    images = []
    for index in range(count):
        seed = derive_seed(record.seed, record.label, index)
        own = attributes[derive_seed(seed, "attributes") % len(attributes)] if attributes else None
        prompt = (Attributes() if own is None else own).added_to(record.prompt)
        name = f"images/{record.label}-{index:06d}.{file_format}"
        edit = None if edits is None else plan_edit(*edits, seed)
        source = None if photographs is None else photographs.of_image(seed)
        planned = PlannedImage(name=name, seed=seed, prompt=prompt, attributes=own, edit=edit, source=source)
        images.append(planned)
    return images
