"""The request to `generate` that a person's settings make."""

from __future__ import annotations

from augment.generate.edit_sources import EditSources
from augment.generate.run import ImageRequest
from augment.methods.record import AdapterRecord
from augment.methods.table import read_settings
from data.errors import ConfigError
from data.manifest import Manifest
from flows import held_back
from flows.page.opened import Generator, OpenedRun
from flows.page.settings import DrawSettings


def image_request(opened: OpenedRun, asked: DrawSettings) -> ImageRequest:
    """What to generate. Raises InputError for an unknown class, generator or photograph, and for one that is hidden."""
    if asked.label not in opened.labels:
        raise ConfigError(f"class {asked.label!r}: is none of the study's rare ones; take {', '.join(opened.labels)}")
    generator = opened.generator(asked.label, asked.generator)
    return ImageRequest(
        label=asked.label,
        prompt=asked.prompt.strip(),
        count=asked.count,
        seed=asked.seed,
        size=opened.study.pixels.size,
        adapter=generator.folder,
        sources=_sources(opened, asked, generator) if asked.source_image else None,
        photographs=held_back.trained_on(opened.prepared, asked.label) if follows(generator) else None,
    )


def follows(generator: Generator) -> bool:
    """Whether its images follow photographs, as a ControlNet's do."""
    if generator.folder is None:
        return False
    return read_settings(generator.folder, AdapterRecord.read(generator.folder)).condition_source is not None


def source_photographs(opened: OpenedRun, label: str) -> Manifest:
    """The photographs that images of a class may be edited from: its shots; none where photographs are hidden."""
    shots = opened.prepared.shots[label]
    return shots if opened.shows_photographs else shots.first(0)


def _sources(opened: OpenedRun, asked: DrawSettings, generator: Generator) -> EditSources:
    """The one photograph that the images are edited from."""
    if not opened.shows_photographs:
        raise ConfigError("the study hides photographs (embed_real_images: false); draw from noise alone")
    if follows(generator):
        raise ConfigError(f"{generator.name}: its images follow photographs already; draw without a source photograph")
    shots = source_photographs(opened, asked.label)
    one = shots.where(shots.table["image_id"] == asked.source_image)
    if not len(one):
        raise ConfigError(
            f"photograph {asked.source_image!r}: is none of the shots of {asked.label}; choose one of these"
        )
    prepared, study = opened.prepared, opened.study
    what = f"photographs that images of {asked.label!r} are edited from"
    prepared.split.require_in_train(one.table["image_id"], one.table["group_id"], what)
    return EditSources(photographs=one, identity=prepared.images.identity_of(one), pixels=study.pixels)
