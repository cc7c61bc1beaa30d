"""The items of CLAIM 2024 and TRIPOD+AI, each with the answer that a run gives; the others are left to the authors.

`checklists/claim-2024.csv`: Tejani et al. 2024, 44 items, doi:10.1148/ryai.240300, shortened to their headings.
`checklists/tripod-ai-2024.csv`: Collins et al. 2024, 27 items, doi:10.1136/bmj-2023-078378, table 2 (CC BY 4.0).
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reports import text
from reports.images_tested import images_tested
from reports.numbers import count, interval, listing, share

if TYPE_CHECKING:
    from reports.schema import Summary

_FOLDER = Path(__file__).parent / "checklists"


@dataclass(frozen=True)
class Item:
    """One item of a checklist."""

    number: str
    topic: str
    text: str
    answer: str  # from the run; empty: left to the authors


def claim(summary: Summary) -> tuple[Item, ...]:
    """CLAIM 2024."""
    return _filled("claim-2024.csv", _CLAIM, summary)


def tripod(summary: Summary) -> tuple[Item, ...]:
    """TRIPOD+AI; 27 items, of which some have parts."""
    return _filled("tripod-ai-2024.csv", _TRIPOD, summary)


def _filled(name: str, answers: Mapping[str, Callable[[Summary], str]], summary: Summary) -> tuple[Item, ...]:
    with (_FOLDER / name).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return tuple(
        Item(row["item"], row["topic"], row["text"], answers[row["item"]](summary) if row["item"] in answers else "")
        for row in rows
    )


def _technology(s: Summary) -> str:
    made = listing(tuple(dict.fromkeys(tune.method for tune in s.finetunes.values())))
    generator = f"; synthetic images by latent diffusion (Stable Diffusion), fine-tuned by {made}" if made else ""
    return f"Deep learning: a convolutional classifier ({text.classifier(s)}){generator}."


def _objectives(s: Summary) -> str:
    compared = listing(tuple(f"{d.first} against {d.second}" for d in s.differences)) or "one arm alone"
    return (
        "Whether training images added to rare classes change a classifier’s balanced accuracy, by arms of equal "
        f"budgets: {compared}. Classifiers are developed and evaluated."
    )


def _sources(s: Summary) -> str:
    drawn = "phantoms: pictures that a program draws, of no patient" if s.source == "phantom" else s.source
    parts = listing(tuple(f"{count(part.images, 'image')} of {name}" for name, part in s.split.parts.items()))
    return f"{drawn[0].upper()}{drawn[1:]}; {len(s.classes)} classes; {parts}. The same source for all parts."


def _preprocessing(s: Summary) -> str:
    pixels = s.config["pixels"]
    return (
        f"Every image, real or not, takes one path: {pixels.get('geometry', 'crop')} to {pixels['size']} px a side, "
        "sRGB. The mean and deviation are the network’s own."
    )


def _missing(_: Summary) -> str:
    return "An image that cannot be read or has no label stops the run before training; nothing is imputed."


def _partitions(s: Summary) -> str:
    left = f"; {count(s.split.left_out, 'image')} left out that share a group with it" if s.split.left_out else ""
    parts = "; ".join(
        f"{name}: {count(part.images, 'image')}, {count(part.groups, 'group')}" for name, part in s.split.parts.items()
    )
    return f"By leakage group, test part {s.split.test}{left}. {parts}."


def _disjoint(s: Summary) -> str:
    return (
        "Leakage group: whatever is joined by patient, lesion or near-duplicate is in one part; "
        f"{s.split.shared_groups} groups are in two. Checked for the generators’ lineage too (provenance.json)."
    )


def _subsets(s: Summary) -> str:
    shots = listing(tuple(f"{label} {count(tune.shots, 'image')}" for label, tune in s.finetunes.items()))
    few = f" Generators were fine-tuned on: {shots}." if shots else ""
    return f"{text.regime(s)[0].upper()}{text.regime(s)[1:]}.{few}"


def _sample_size(s: Summary) -> str:
    return f"All images of the source; tested on {images_tested(s, 'image')}. The intervals say what that resolves."


def _software(s: Summary) -> str:
    return "lesionloom; " + ", ".join(f"{name} {version}" for name, version in s.versions.items()) + "."


def _initial(s: Summary) -> str:
    return f"{text.classifier(s)}. {text.seeds(s)}"


def _training(s: Summary) -> str:
    settings = {name: value for name, value in s.config["classifier"].items() if value is not None}
    listed = ", ".join(f"{name} {value}" for name, value in settings.items())
    same = f"The same for every arm, but for what an arm is there to change: {listed}."
    return f"{same} Added images: model-card.md, datasheet.md."


def _selection(s: Summary) -> str:
    best = "the step with the highest balanced accuracy on the validation part is kept"
    kept = "the last step is kept" if s.config["classifier"].get("checkpoint") == "last" else best
    return f"Of each classifier {kept}; the test part is read once."


def _ensembling(s: Summary) -> str:
    views = s.config["classifier"].get("test_views", 1)
    averaged = f"The outputs for {views} views of each image are averaged. " if views > 1 else ""
    each = f"{averaged}Figures are averaged over {count(len(s.seeds), 'classifier')} an arm"
    if not s.ensemble or len(s.seeds) == 1:
        return f"{each}."
    together = "; ".join(f"{arm} {share(score.mean)} {interval(score)}" for arm, score in s.ensemble.items())
    return f"{each}. Of probabilities averaged over them, balanced accuracy: {together}."


def _metrics(s: Summary) -> str:
    more = (
        " AUROC, average precision, sensitivity at 80 and 90 % specificity; expected calibration error in 15 bins, "
        "Brier score, negative log likelihood."
        if s.discrimination
        else ""
    )
    return f"Balanced accuracy (the headline), recall by class, accuracy.{more}"


def _uncertainty(s: Summary) -> str:
    varied = s.differences[0].varied if s.differences else s.balanced_accuracy[s.arms[0]].varied
    return f"95 % intervals: {varied}."


def _robustness(s: Summary) -> str:
    return f"{count(len(s.seeds), 'classifier seed')}, and the arms {listing(s.arms)}."


def _internal(s: Summary) -> str:
    return f"The test part ({s.split.test}), read once: {images_tested(s, 'image')}, all of the same source."


def _external(s: Summary) -> str:
    part = "the data set’s official test part" if s.split.test == "official" else "a part of the same data set"
    return f"Not done: this run tests on {part}."


def _by_class(s: Summary) -> str:
    parts = "; ".join(
        f"{name}: " + ", ".join(f"{label} {part.by_class.get(label, 0):,}" for label in s.classes)
        for name, part in s.split.parts.items()
    )
    return f"By class. {parts}. Demographic characteristics are left to the authors."


def _performance(s: Summary) -> str:
    arms = "; ".join(f"{arm} {share(score.mean)} {interval(score)}" for arm, score in s.balanced_accuracy.items())
    return f"Balanced accuracy: {arms}. {text.answer(s)} By class: model-card.md and report.html."


def _failures(_: Summary) -> str:
    return "Confusion matrices of every arm in report.html; single images are in predictions.csv of each classifier."


def _limits(s: Summary) -> str:
    drawn = " The images are drawings: nothing here is about patients." if s.source == "phantom" else ""
    return f"{text.caveat(s)}{drawn}"


def _use(_: Summary) -> str:
    return "Research on augmentation alone. No clinical use is intended, and none was studied."


def _details(_: Summary) -> str:
    return "The whole config is in report.html and run.json."


def _availability(_: Summary) -> str:
    return (
        "Software: lesionloom, Apache-2.0. The run’s folder holds every trained model; whether they and the data may "
        "be shared is left to the authors."
    )


def _predictors(s: Summary) -> str:
    return f"The pixels of one image alone. {_preprocessing(s)}"


def _imbalance(s: Summary) -> str:
    return (
        f"Every class weighs the same in the loss of every arm; rare classes ({listing(s.rare)}) are filled up as the "
        f"arm says. {_recalibration(s)}"
    )


def _recalibration(s: Summary) -> str:
    return text.probabilities(s)


def _output(_: Summary) -> str:
    return "A probability for each class; the named class is the likeliest one, and no threshold was chosen."


def _model(s: Summary) -> str:
    return f"{text.classifier(s)}, saved as safetensors with its preprocessing; `lesionloom predict` applies it."


_CLAIM: Mapping[str, Callable[[Summary], str]] = {
    "1": _technology, "4": _objectives, "6": _objectives, "7": _sources, "9": _preprocessing, "10": _subsets,
    "12": _missing, "19": _partitions, "20": _disjoint, "21": _sample_size, "22": _model, "23": _software,
    "24": _initial, "25": _training, "26": _selection, "27": _ensembling, "28": _metrics, "29": _uncertainty,
    "30": _robustness, "32": _internal, "33": _external, "35": _partitions, "36": _by_class, "37": _performance,
    "38": _performance, "39": _failures, "40": _limits, "41": _use, "42": _details, "43": _availability,
}  # fmt: skip
_TRIPOD: Mapping[str, Callable[[Summary], str]] = {
    "3b": _use, "4": _objectives, "5a": _sources, "7": _preprocessing, "9b": _predictors, "10": _sample_size,
    "11": _missing, "12a": _partitions, "12b": _preprocessing, "12c": _training, "12e": _metrics,
    "12f": _recalibration, "12g": _model, "13": _imbalance, "15": _output, "16": _sources,
    "18f": _availability, "20a": _partitions, "20c": _by_class, "21": _by_class, "22": _model, "23a": _performance,
    "24": _recalibration, "26": _limits,
}  # fmt: skip
