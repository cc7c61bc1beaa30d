"""metadata.csv: one row an image, as `datasets` reads an image folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from data.store import derive_seed

if TYPE_CHECKING:
    from augment.generate.record import GeneratedImages
    from augment.prompts import Attributes

FILE = "metadata.csv"


@dataclass(frozen=True, kw_only=True)
class PlannedImage:
    """One image: its file, its seed and its prompt."""

    name: str  # path in the folder
    seed: int
    prompt: str
    attributes: Attributes | None  # of one of the class's real images, which the prompt names; None: of none


def plan_images(
    record: GeneratedImages, count: int, attributes: Sequence[Attributes], file_format: str
) -> list[PlannedImage]:
    """Each image by its number: the same however many there are."""
    images = []
    for index in range(count):
        seed = derive_seed(record.seed, record.label, index)
        own = attributes[derive_seed(seed, "attributes") % len(attributes)] if attributes else None
        prompt = record.prompt if own is None else own.added_to(record.prompt)
        name = f"images/{record.label}-{index:06d}.{file_format}"
        images.append(PlannedImage(name=name, seed=seed, prompt=prompt, attributes=own))
    return images


def metadata_csv(record: GeneratedImages, images: Sequence[PlannedImage]) -> str:
    """The table as text; `file_name` comes first, as image folders want it."""
    common = _common_columns(record)
    rows = [_row(image, common) for image in images]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0] if rows else ["file_name", *common, "seed"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def _row(image: PlannedImage, common: Mapping[str, Any]) -> dict[str, Any]:
    attributes = {} if image.attributes is None else asdict(image.attributes)
    prompts = {f"prompt_{name}": value for name, value in attributes.items()}
    return {"file_name": image.name, **common, "prompt": image.prompt, "seed": image.seed, **prompts}


def _common_columns(record: GeneratedImages) -> dict[str, Any]:
    base, settings = record.base, record.settings
    return {
        "label": record.label,
        "adapter": record.adapter,
        "base": f"{base.get('source')}@{str(base.get('sha256') or base.get('revision'))[:12]}",
        "prompt": record.prompt,
        "negative_prompt": settings["negative_prompt"],
        "preset": settings["preset"],
        "steps": settings["steps"],
        "guidance_scale": settings["guidance_scale"],
        "guidance_end": settings["guidance_end"],
        "sampler": record.sampler,
        "settings": record.digest()[:12],
    }
