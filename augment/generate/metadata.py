"""metadata.csv: one row an image, as `datasets` reads an image folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from augment.generate.edit_config import EditConfig
from augment.generate.edit_sources import edit_columns
from data.spreadsheet import neutral_value

if TYPE_CHECKING:
    from augment.generate.planned_images import PlannedImage
    from augment.generate.record import GeneratedImages
    from augment.generate.sources import SourceImage

FILE = "metadata.csv"


def metadata_csv(record: GeneratedImages, images: Sequence[PlannedImage], edit: EditConfig | None = None) -> str:
    """The table as text; `file_name` comes first, as image folders want it. `edit` is how images are edited."""
    common = _common_columns(record)
    rows = [_row(image, common, edit) for image in images]
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, rows[0] if rows else ["file_name", *common, "seed"], lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: neutral_value(value) for name, value in row.items()} for row in rows)
    return buffer.getvalue()


def _row(image: PlannedImage, common: Mapping[str, Any], edit: EditConfig | None) -> dict[str, Any]:
    attributes = {} if image.attributes is None else asdict(image.attributes)
    prompts = {f"prompt_{name}": value for name, value in attributes.items()}
    source = {} if edit is None or image.edit is None else edit_columns(edit, image.edit)
    followed = {} if image.source is None else _source_columns(image.source)
    own = {"file_name": image.name, **common, "prompt": image.prompt, "seed": image.seed}
    return {**own, **source, **followed, **prompts}


def _source_columns(source: SourceImage) -> dict[str, Any]:
    """The photograph that an image follows, its leakage group, and how it was turned (0: not at all)."""
    return {"source_image": source.image_id, "source_group": source.group_id, "source_view": source.view}


def _common_columns(record: GeneratedImages) -> dict[str, Any]:
    base, settings = record.base, record.settings
    return {
        "label": record.label,
        "adapter": record.adapter,
        "base": f"{base.get('source')}@{str(base.get('sha256') or base.get('revision'))[:12]}",
        "prompt": record.prompt,
        "negative_prompt": settings["negative_prompt"],
        **({"emphasis": settings["emphasis"]} if "emphasis" in settings else {}),
        "preset": settings["preset"],
        "steps": settings["steps"],
        "guidance_scale": settings["guidance_scale"],
        "guidance_end": settings["guidance_end"],
        "sampler": record.sampler,
        "settings": record.digest()[:12],
    }
