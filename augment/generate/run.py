"""One class's synthetic images: a folder that `datasets` reads as an image folder, and a synthetic Manifest.

An image's seed is derived from the study's seed, the label and its number, and images are written as they are
generated, so an interrupted call continues where it stopped. metadata.csv is written last.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from augment.base.config import BaseConfig
from augment.base.identity import base_identity
from augment.base.provenance import base_provenance
from augment.diffusion.sample import require_size
from augment.generate import metadata
from augment.generate.batches import generate_pixels
from augment.generate.config import GenerateConfig
from augment.generate.edit_sources import EditSources, canvases_of
from augment.generate.image_writer import ImageWriter
from augment.generate.mark import EDITED, SYNTHETIC
from augment.generate.metadata import metadata_csv
from augment.generate.pipeline import AdapterPipeline
from augment.generate.planned_images import plan_images
from augment.generate.record import GeneratedImages
from augment.generate.sources import FollowedPhotographs, followed, index_of
from augment.methods.record import AdapterRecord
from augment.prompts import Attributes
from data.errors import DataError
from data.files.images import is_whole
from data.manifest import COLUMNS, Manifest, read_table
from data.progress import Progress
from data.splits.provenance import Provenance
from data.store import digest, write_text

_KIB = 2**10
_JPEG_QUALITY = 95  # up to it a JPEG has fewer bytes than its pixels: 0.86 times as many for pure noise


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """The images to generate of a class."""

    label: str
    prompt: str
    count: int
    seed: int  # the study's
    size: int  # pixels
    attributes: Sequence[Attributes] = ()  # of the class's real images; each prompt names those of one of them
    adapter: Path | None = None  # folder of the fine-tuned class; None: the base as it is
    sources: EditSources | None = None  # of `generate.edit`
    photographs: Manifest | None = None  # of the class, for methods whose images follow one each


def generate(
    *,
    pipeline: AdapterPipeline,
    request: ImageRequest,
    config: GenerateConfig,
    out: Path,
    progress: Progress | None = None,
) -> Manifest:
    """Write the images under out/images, and metadata.csv. Returns their Manifest.

    Images of an interrupted call with the same inputs are kept; if none is missing, no model is loaded.
    """
    config = config.for_label(request.label)
    edit, sources = config.edit, request.sources
    if (edit is None) != (sources is None):
        raise ValueError(
            "images are edited from sources: give both `generate.edit` and the request's `sources`, or none"
        )
    edits = None if edit is None or sources is None else (edit, sources.photographs)
    photographs = followed(request.adapter, request.photographs, request.size)
    record = _record(pipeline.base, request, config, photographs)
    _prepare_folder(out, record)
    record.write(out)
    images = plan_images(record, request.count, request.attributes, config.format, edits, photographs)
    for surplus in {path.relative_to(out).as_posix() for path in (out / "images").iterdir()} - {i.name for i in images}:
        (out / surplus).unlink()
    missing = [image for image in images if not is_whole(out / image.name)]
    if missing:
        missing.sort(key=lambda image: 0 if image.edit is None else -image.edit.strength)  # one strength a batch
        canvases = None if edit is None or sources is None else canvases_of(edit, sources, missing)
        pipe = pipeline.load_adapter(request.adapter, config, len(missing))
        require_size(pipe, request.size)
        batches = generate_pixels(
            pipe,
            [image.prompt for image in missing],
            [image.seed for image in missing],
            config,
            request.size,
            _possible_prompts(request),
            canvases,
            None if photographs is None else photographs.condition_images(),
            index_of([image.source for image in missing]),
        )
        pending, origin = 4 * config.batch_size, SYNTHETIC if edit is None else EDITED
        with ImageWriter(out, config.format, config.jpeg_quality, pending, origin) as writer:
            for pixels in batches:
                for image in pixels:
                    writer.add(missing[writer.added].name, image)
                if progress is not None:
                    progress(len(images) - len(missing) + writer.added, len(images))
    write_text(out / metadata.FILE, metadata_csv(record, images, edit))
    return synthetic_manifest(out, "synthetic", {"synthetic": out})


def synthetic_manifest(folder: Path, root_name: str, roots: Mapping[str, Path]) -> Manifest:
    """The Manifest of a folder that `generate` finished.

    Each image is a leakage group of its own, or in that of the photograph that it is made from. `lineage` is
    `adapter digest:image seed`, then that photograph, of an edited image `...:source image@strength`; the other columns
    of metadata.csv are kept.
    """
    images = read_table(folder / metadata.FILE)
    try:
        path = folder.relative_to(roots[root_name])
    except (KeyError, ValueError) as fault:
        raise DataError(f"{folder}: is not under a root named {root_name!r}; known: {dict(roots)}") from fault
    ids = [f"synthetic-{Path(name).stem}" for name in images["file_name"]]
    columns: dict[str, Any] = {
        "image_id": ids,
        "root": root_name,
        "path": [(path / name).as_posix() for name in images["file_name"]],
        "label": images["label"],
        "group_id": images.get("source_group", ids),
        "lesion_id": "",
        "patient_id": "",
        "source": "synthetic",
        "lineage": _lineage(images),
    }
    others = images.drop(columns=[name for name in images.columns if name in COLUMNS])
    return Manifest(pd.concat([pd.DataFrame(columns, dtype=str), others], axis=1), roots)


def _lineage(images: pd.DataFrame) -> pd.Series[str]:
    lineage: pd.Series[str] = images["adapter"].str[:12] + ":" + images["seed"]
    if "source_image" in images:
        lineage = lineage + ":" + images["source_image"]
    return lineage + "@" + images["strength"] if "strength" in images else lineage


def generated_image_bytes(config: GenerateConfig, size: int) -> int:
    """Upper estimate of one image's bytes on disk, with the unused rest of its last block and its rows in tables."""
    pixels = size**2 * 3
    larger = config.format == "jpg" and config.jpeg_quality > _JPEG_QUALITY
    return pixels * 3 // 2 + 6 * _KIB if larger else pixels + 6 * _KIB


def _record(
    base: BaseConfig, request: ImageRequest, config: GenerateConfig, photographs: FollowedPhotographs | None
) -> GeneratedImages:
    adapter = None if request.adapter is None else AdapterRecord.read(request.adapter)
    attributes = list(request.attributes)
    return GeneratedImages(
        label=request.label,
        prompt=request.prompt,
        adapter="none" if adapter is None else adapter.sha256,
        base=base_identity(base),
        seed=request.seed,
        size=request.size,
        batch_size=config.batch_size,
        sampler=config.solver,
        settings=config.result_settings(),
        attributes={"images": len(attributes), "sha256": digest(attributes)} if attributes else None,
        provenance=_provenance(base, adapter, config, request.sources, photographs),
        sources=None if config.edit is None or request.sources is None else request.sources.record(config.edit),
        photographs=None if photographs is None else photographs.to_record(),
        stopped=None if adapter is None or adapter.stopped is None else dict(vars(adapter.stopped)),
    )


def _possible_prompts(request: ImageRequest) -> set[str]:
    """All prompts that images of the class may have."""
    return {request.prompt, *(attributes.added_to(request.prompt) for attributes in request.attributes)}


def _provenance(
    base: BaseConfig,
    adapter: AdapterRecord | None,
    config: GenerateConfig,
    sources: EditSources | None,
    photographs: FollowedPhotographs | None,
) -> Provenance:
    """What adapter and base were trained on, what chose the adapter's step, and what images are made from.

    Incomplete with a distilled part, whose training data is not known.
    """
    own = Provenance() if adapter is None else adapter.seen
    made_from = [each.photographs for each in (sources, photographs) if each is not None]
    known = own | base_provenance(base)
    for part in made_from:
        known |= Provenance.of(part)
    return known | Provenance.unknown() if config.uses_distilled_parts else known


def _prepare_folder(out: Path, record: GeneratedImages) -> None:
    """Make the folder ready: images of an interrupted call with this very record stay, others are deleted."""
    (out / metadata.FILE).unlink(missing_ok=True)
    try:
        is_same = GeneratedImages.read(out) == record
    except DataError:
        is_same = False
    if not is_same:
        shutil.rmtree(out / "images", ignore_errors=True)
    (out / "images").mkdir(parents=True, exist_ok=True)
