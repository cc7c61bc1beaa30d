"""From a config to a study whose images are read and divided, so that its steps can be planned."""

from __future__ import annotations

import dataclasses
import difflib
import time
from collections.abc import Sequence

from augment.base.config import require_base
from augment.base.hub import resolve_revision
from augment.prompts import require_labels
from classify.model import build
from classify.weights import refuse_weights
from data.errors import ConfigError, DataError
from data.manifest import contents_of
from data.progress import Progress
from data.sources.load import load_manifest
from data.splits.leakage import read_split
from flows.execute import make_artefact
from flows.prepared import Images, Prepared
from flows.stages import split
from flows.steps import Runner, StepResult, in_repeat
from flows.study import StudyConfig


def prepare(study: StudyConfig, run: Runner) -> Prepared:
    """Read the images of a single study and divide them, as `prepare_repeats` does."""
    (prepared,) = prepare_repeats(study, run)
    return prepared


def prepare_repeats(study: StudyConfig, run: Runner) -> tuple[Prepared, ...]:
    """Read the images, once, and divide them for each repeat of the study.

    A base that does not exist and a classifier that cannot be built are refused before any image is read. Raises
    InputError.
    """
    if study.trains_on("synthetic") or study.trains_on("autoencoded"):
        require_base(study.base)
    study = dataclasses.replace(study, base=resolve_revision(study.base))
    classifier_bytes = _classifier_bytes(study)
    images = run("read images", study.data.source, lambda progress: read_images(study, progress))
    require_labels("prompts.class_names", study.prompts.class_names, images.manifest.labels)
    require_labels("generate.negative_prompts", study.generate.negative_prompts, images.manifest.labels)
    refuse_unknown_labels("malignant", study.malignant, images.manifest.labels)
    return tuple(_divide(repeat, images, classifier_bytes, in_repeat(run, repeat.title)) for repeat in study.repeats())


def _divide(study: StudyConfig, images: Images, classifier_bytes: int, run: Runner) -> Prepared:
    step = split.plan(study, images)

    def divide(progress: Progress) -> StepResult:
        try:
            return make_artefact(step, lambda folder: split.make(study, images, folder, progress))
        except DataError as fault:  # a small data set may be divisible by some seeds alone
            raise (DataError(f"{study.title}: {fault}") if study.title else fault) from fault

    result = run("split", "", divide)
    parts = read_split(step.target, images.manifest.roots)
    refuse_weights(study.classifier.weights, parts)
    return Prepared(study, images, parts, result, classifier_bytes)


def read_images(study: StudyConfig, progress: Progress) -> Images:
    """Read the configured images; phantoms are drawn, once."""
    start = time.perf_counter()
    calls: list[int] = []

    def on_drawn(done: int, total: int, note: str = "") -> None:
        calls.append(done)
        progress(done, total, note)

    folder = study.cache.with_name("data")
    manifest = load_manifest(study.data, folder, on_drawn)
    contents = contents_of(manifest, study.cache / "contents.json")
    return Images(
        stage="read images",
        what=study.data.source,
        seconds=round(time.perf_counter() - start, 2),
        reused=study.data.source == "phantom" and not calls,
        folder=folder,
        manifest=manifest,
        contents=contents,
        cache=None if study.data.source == "phantom" else study.cache,
    )


def refuse_unknown_labels(key: str, named: Sequence[str], labels: Sequence[str]) -> None:
    """Raise ConfigError where a setting names a class that no image has."""
    for label in named:
        if label not in labels:
            near = difflib.get_close_matches(label, labels, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"the images have {', '.join(labels)}"
            raise ConfigError(f"{key} names the class {label!r}, which no image has; {hint}")


def _classifier_bytes(study: StudyConfig) -> int:
    """Bytes of one classifier's weights, whatever its classes. Raises BaseError for one that cannot be built."""
    network = build(study.classifier.weights, 2, architecture=study.classifier.model)
    return sum(tensor.numel() * tensor.element_size() for tensor in network.state_dict().values())
