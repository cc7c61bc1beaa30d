"""A study in numbers: what the report shows, and what `summary.json` holds.

No drawing and no sentences here. A figure that is undefined (a class that the test part lacks) is None.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter, ValidationError

from classify.significance import McNemar
from data.errors import InputError
from data.splits.leakage import PartCounts
from data.store import read_json, write_json

if TYPE_CHECKING:
    from pathlib import Path

Verdict = Literal["higher", "lower", "unclear", "undefined"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A figure with its 95 % interval."""

    mean: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, kw_only=True)
class VariancePart:
    """One source of a figure's variance."""

    name: str  # test lesions, classifier seeds or draw
    share: float  # of the whole variance
    freedom: float  # degrees of freedom of its estimate


@dataclass(frozen=True, kw_only=True)
class Score(Interval):
    """A figure of one arm, between 0 and 1, averaged over the seeds, then over the repeats."""

    per_seed: dict[str, float | None]  # seed, or repeat and seed -> figure
    varied: str  # what varied under the interval, and what did not, in words
    parts: tuple[VariancePart, ...] = ()  # of what varied


@dataclass(frozen=True, kw_only=True)
class RecallScore(Score):
    """Recall of one class in one arm."""

    images: int  # of the class in the test part
    groups: int  # leakage groups that these images come from


@dataclass(frozen=True, kw_only=True)
class Found:
    """Test images of one class that each arm classified correctly, on average over seeds and repeats."""

    images: float  # of the class in a test part
    first: float
    second: float


@dataclass(frozen=True, kw_only=True)
class Difference(Interval):
    """Balanced accuracy of `first` less that of `second`: paired over the test images, averaged over the seeds."""

    first: str
    second: str
    per_seed: dict[str, float | None]
    verdict: Verdict  # of `first`: "unclear" where the interval holds 0
    by_class: dict[str, Interval]  # label -> difference in recall
    varied: str
    parts: tuple[VariancePart, ...] = ()
    smallest: float | None = None  # effect that 80 % of such studies would have seen
    p_value: float | None = None  # two-sided, of the interval's own error
    p_holm: float | None = None  # adjusted for all comparisons that the report claims; None: it is not among them
    mcnemar: tuple[McNemar, ...] = ()  # by repeat, on probabilities averaged over the seeds
    found: dict[str, Found] = field(default_factory=dict)  # label ->


@dataclass(frozen=True, kw_only=True)
class Place:
    """Place on the curve of a figure over photographs a rare class. None: outside the curve's numbers."""

    value: float | None
    low: float | None  # None: outside, on the side that `low_is_above` says
    high: float | None  # None: outside, on the side that `high_is_below` says
    is_below: bool  # whether a value of None is below the curve, not above it
    low_is_above: bool = False  # whether even the interval's low end is above the curve
    high_is_below: bool = False  # whether even its high end is below


@dataclass(frozen=True, kw_only=True)
class Worth:
    """What an arm's images are worth in photographs, beside those that it trains on itself."""

    arm: str
    photographs: float  # that a rare class really has in the arm, on average over the rare classes
    place: Place  # of its balanced accuracy
    by_class: dict[str, Place]  # rare label -> of its recall; without classes that have all photographs in every arm


@dataclass(frozen=True, kw_only=True)
class Curve:
    """Arms of real images that differ in the number of photographs of a rare class."""

    photographs: dict[str, float]  # arm -> of a rare class, on average, in rising order
    risen: dict[str, float]  # arm -> balanced accuracy of the curve that rises
    worths: tuple[Worth, ...]  # of the arms with generated images


@dataclass(frozen=True, kw_only=True)
class Doses:
    """Numbers of synthetic images that were tried, and which of them the validation part chooses."""

    validation: dict[str, float]  # arm -> balanced accuracy of the validation part, in rising dose, from none
    chosen: str  # arm: the smallest dose within one standard error of the best


@dataclass(frozen=True, kw_only=True)
class Separation:
    """How well an arm's probabilities separate classes, and how far they can be believed; or the difference of two.

    Keys are `classify.discrimination.FIGURES`, of the last `classify.calibration.FIGURES`.
    """

    by_class: dict[str, dict[str, Interval]]  # label -> figure ->, one class against the rest
    macro: dict[str, Interval]  # figure -> mean over the classes that have test images
    malignant: dict[str, Interval]  # figure -> malignant classes against the others; empty where none are named
    calibration: dict[str, Interval]  # figure ->


@dataclass(frozen=True, kw_only=True)
class SeparationDifference(Separation):
    """The figures of `first` less those of `second`, paired over the test images."""

    first: str
    second: str


@dataclass(frozen=True, kw_only=True)
class Discrimination:
    """Discrimination and calibration of every arm."""

    malignant: tuple[str, ...]  # classes that the config calls so
    arms: dict[str, Separation]
    differences: tuple[SeparationDifference, ...]  # the headline's first
    varied: str


@dataclass(frozen=True, kw_only=True)
class ArmTraining:
    """What one arm's classifier was trained on; the same for every seed."""

    counts: dict[str, dict[str, int]]  # label -> source -> images
    steps: int
    best_steps: dict[str, int]  # seed -> the step whose network is kept
    seconds: float  # over all seeds
    temperatures: dict[str, float] = field(default_factory=dict)  # by seed; none where none was fitted
    validation: dict[str, float] = field(default_factory=dict)  # by seed: balanced accuracy of the validation part


@dataclass(frozen=True, kw_only=True)
class StepFigure:
    """What the choice of a fine-tune's step was made by, at one step."""

    step: int
    kernel_distance: float
    error: float  # standard error
    kept: bool  # the adapter of this step was the best by more than the noise


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which step of a fine-tune was kept, and why."""

    step: int
    reason: str  # why the last step was kept without a choice; "": there was one
    points: tuple[StepFigure, ...]
    images: int  # drawn at each step
    photographs: int  # held out, that they were compared with
    origin: str  # of those, in words
    features: str


@dataclass(frozen=True, kw_only=True)
class HeldOutCurve:
    """The loss of photographs that a fine-tune was not trained on."""

    points: tuple[tuple[int, float], ...]  # step and loss; none where there are no photographs
    photographs: int
    origin: str  # of those, in words
    reason: str  # why there is none; "": there is one


@dataclass(frozen=True, kw_only=True)
class FineTune:
    """One class's fine-tune, and what was generated with it."""

    method: str
    prompt: str
    shots: int  # images trained on
    steps: int
    seconds: float
    losses: tuple[tuple[int, float], ...]  # (step, mean loss since the one before), at most 100
    previews: tuple[str, ...]  # paths within the run folder, by step
    images: int  # synthetic images generated
    settings: dict[str, str]  # steps, guidance scale, sampler and negative prompt of those
    choice: Choice | None = None  # None: the last step was kept, as the config asks
    held_out: HeldOutCurve | None = None  # None: the config asks for no held-out loss
    stopped: str = ""  # "stopped by request at step 40 of 400"; "": it was not
    preview_prompt: str = ""  # "": the class's own


@dataclass(frozen=True, kw_only=True)
class ExternalImages:
    """The images of an arm that another program made."""

    folder: str  # as the config names it
    images: int  # that the arm trains on
    different: int  # files among them
    seen: int | None  # leakage groups that their generator has seen; None: unknown
    copies_of_train: int  # images that are nearly one of the train part; of validation and test there is none
    by_hand: dict[str, int] | None = None  # accepted and rejected images, where a person chose by eye; None: nobody


@dataclass(frozen=True, kw_only=True)
class Leak:
    """What a random split of images would have leaked from one class's test images."""

    label: str
    images: int  # in the test part of one random split
    leaked: int
    share: float  # on average over all random splits


@dataclass(frozen=True, kw_only=True)
class ProvenanceRow:
    """Leakage groups that one part of a run has seen along its lineage, by part of the split."""

    kind: str  # base, generator, external, weights, classifier, checkpoint or figures
    name: str  # its class, arm or source
    train: int
    validation: int
    test: int
    is_complete: bool  # False: it may have seen more
    note: str = ""  # of a generator that was stopped by request: at which step


@dataclass(frozen=True, kw_only=True)
class SplitCounts:
    """The split, and what each part of the run has seen of it."""

    groups: int
    links: dict[str, int]  # lesion, patient, group, duplicate -> links found
    shared_groups: int  # groups that are in two parts: 0, or the study is invalid
    parts: dict[str, PartCounts]
    random_split_leaks: tuple[Leak, ...]
    provenance: tuple[ProvenanceRow, ...]  # none for pooled repeats
    base_has_seen: str  # "unknown" for a base from a hub; "" where no arm uses a base
    test: str  # "by share", "official" or "fold 0 of 5"
    left_out: int  # images that share a group with an official test set


@dataclass(frozen=True, kw_only=True)
class RandomSplitScore:
    """What a random split of the same images would have reported of the real arm's classifier. Not to be believed."""

    balanced_accuracy: Score
    images: int  # in its test part
    leaked: int  # of these have another image of their group in its train part


@dataclass(frozen=True, kw_only=True)
class ProbeScore:
    """Common test images that an arm's classifiers name as a rare class, averaged over the seeds."""

    images: int
    photograph: float  # share named rare as photographs
    coded: float  # and passed through the autoencoder
    difference: float
    error: float  # standard error of the difference

    @property
    def interval(self) -> Interval:
        """The difference with its 95 % interval."""
        half = 1.96 * self.error
        return Interval(mean=self.difference, low=self.difference - half, high=self.difference + half)


@dataclass(frozen=True, kw_only=True)
class GateControl:
    """Photographs that are compared with the train part as if they were synthetic images."""

    name: str  # other lesions, the same lesion, or changed copies
    n: int
    above: int  # the limit, so that they count as copies


@dataclass(frozen=True, kw_only=True)
class GatePair:
    """A synthetic image and the train photograph that it is most like."""

    synthetic: str  # path within the run folder
    real: str
    similarity: float  # 1 = the same photograph
    excess: float  # over the next photographs
    is_kept: bool


@dataclass(frozen=True, kw_only=True)
class GateClass:
    """What the gate found of one class's synthetic images."""

    made: int
    kept: int
    wanted: int  # that the filled arms add
    refused: dict[str, int]  # reason -> images; one with two reasons counts for both
    limit: float | None  # excess above which an image is a copy; None for pooled repeats
    controls: tuple[GateControl, ...]
    features: str  # of the network whose features tell classes apart; "" without a classifier
    recall: float | None  # of the class by that classifier, out of fold
    least_probability: float | None  # of its class; an image with less is off it
    pairs: tuple[GatePair, ...]  # nearest first; none where the run keeps no real images


@dataclass(frozen=True, kw_only=True)
class Repeat:
    """One repeat of a study whose repeats are pooled."""

    name: str  # what tells it from the others, e.g. "study seed 1, fold 2"
    run: str  # folder of its records, whose own report has the details, from the pooled report's
    study_seed: int
    generator_seed: int
    fold: int | None
    images: int  # in its test part
    groups: int
    balanced_accuracy: dict[str, float | None]  # arm ->
    seen_of_test: int  # leakage groups of its test part that were seen before, by its provenance: 0, or it is invalid
    is_complete: bool  # False: more may have been seen


@dataclass(frozen=True, kw_only=True)
class Reconstruction(Interval):
    """PSNR of a class's train photographs through the autoencoder, dB: mean, and the lowest and highest of them."""

    images: int


@dataclass(frozen=True, kw_only=True)
class FidelityRow:
    """A set of images against photographs that the generator has not seen; a figure that too few images have is absent.

    `figures`: kernel_distance, precision, recall, density, coverage.
    """

    images: int
    figures: dict[str, Interval]


@dataclass(frozen=True, kw_only=True)
class ClassFidelity:
    """One class's sets: "synthetic", "shots", and "real", one half of the photographs against the other."""

    photographs: int  # unseen ones, each of another leakage group
    drawn: tuple[int, int]  # images a draw, of the photographs and of each set, for all but the kernel distance
    rows: dict[str, FidelityRow]


@dataclass(frozen=True, kw_only=True)
class Fidelity:
    """How near the synthetic images are to photographs of the train part that their generator has not seen."""

    features: str  # that sets were compared by; "": no network was at hand
    classes: dict[str, ClassFidelity]  # label -> ; those that got synthetic images
    size: int  # pixels, of the images that the autoencoder reconstructs
    reconstruction: dict[str, Reconstruction]  # label ->
    repeats: int = 1  # that the figures and the ends of their intervals are means over


@dataclass(frozen=True, kw_only=True)
class Timing:
    """One piece of work."""

    stage: str
    what: str
    seconds: float
    reused: bool  # found finished, not done in this run


@dataclass(frozen=True, kw_only=True)
class Results:
    """What follows from the predictions of the test part. Mappings by arm follow `arms`, those by label `classes`."""

    classes: tuple[str, ...]
    arms: tuple[str, ...]
    test_images: int
    test_groups: int
    balanced_accuracy: dict[str, Score]  # arm ->
    weighted_recall: dict[str, Score]  # arm -> recall weighted by support, which is accuracy
    per_class_recall: dict[str, dict[str, RecallScore]]  # arm -> label ->
    differences: tuple[Difference, ...]  # the headline's first
    without_test_images: tuple[str, ...]  # classes that balanced accuracy leaves out
    confusion: dict[str, tuple[tuple[int, ...], ...]]  # arm -> [true class][predicted class], images over all seeds
    ensemble: dict[str, Score] = field(default_factory=dict)  # arm -> of probabilities averaged over its seeds
    chance: float = 0.0  # balanced accuracy of guessing, or of always naming one class
    commonest: float = 0.0  # plain accuracy of always naming the commonest class of the test part
    discrimination: Discrimination | None = None  # None: only the predicted classes are known


@dataclass(frozen=True, kw_only=True)
class Summary(Results):
    """One run, or the pooled repeats of one study, in numbers."""

    name: str
    started: str  # ISO 8601
    finished: str
    source: str  # of the data: "phantom" for the embedded set
    regime: str  # "shots": only the generator sees few images; "limited": the classifier too
    rare: tuple[str, ...]
    seeds: tuple[int, ...]  # of the classifier
    study_seeds: tuple[int, ...]  # of split and few-shot subset; several for pooled repeats
    generator_seeds: tuple[int, ...]  # of fine-tune and synthetic images
    training: dict[str, ArmTraining]  # arm ->
    finetunes: dict[str, FineTune]  # label ->
    gallery: dict[str, dict[str, tuple[str, ...]]]  # label -> "real", "synthetic" or external arm -> paths in the run
    external: dict[str, ExternalImages]  # arm ->, where another program made its images
    random_split: RandomSplitScore | None  # beside the arms, never among them; None where the study asks for none
    split: SplitCounts
    base: dict[str, Any]
    timings: tuple[Timing, ...]
    versions: dict[str, str]
    machine: dict[str, Any]
    config: dict[str, Any]
    probe: dict[str, ProbeScore] = field(default_factory=dict)  # arm ->; empty where the study had no probe
    gate: dict[str, GateClass] = field(default_factory=dict)  # label ->; empty where no arm asks for the gate
    repeats: tuple[Repeat, ...] = ()  # pooled; none for one run
    doses: Doses | None = None  # None where fewer than two were tried
    curve: Curve | None = None  # None where fewer than two arms differ in their photographs alone
    fidelity: Fidelity | None = None  # None: not asked for, or no arm's images come from a base
    stopped: tuple[str, ...] = ()  # fine-tunes, e.g. "df stopped by request at step 40 of 400"

    def write(self, path: Path) -> None:
        """Write as JSON."""
        write_json(path, dataclasses.asdict(self))

    @staticmethod
    def read(path: Path) -> Summary:
        """Read what `write` wrote. Raises InputError for anything else."""
        try:
            return TypeAdapter(Summary).validate_python(read_json(path))
        except OSError as fault:
            raise InputError(f"{path}: cannot be read ({fault.strerror}); draw the report of the run again") from fault
        except (ValueError, ValidationError) as fault:
            raise InputError(f"{path}: is no summary of a run; draw the report of the run again") from fault
