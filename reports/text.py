"""A summary in words: the answer in one sentence, its limits, and how the study was set up."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from augment.prompts import words_for
from reports.arms import arms_of
from reports.images_tested import images_tested
from reports.numbers import count, listing, point_interval, points, share, smallest_effect

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classify.arms import Arm
    from reports.schema import Difference, Summary

_EFFECTS = {
    "higher": "raised balanced accuracy",
    "lower": "lowered balanced accuracy",
    "undefined": "have no defined effect on balanced accuracy",
}


def arms(summary: Summary) -> dict[str, Arm]:
    """The arms of a study by name."""
    return arms_of(summary.arms, summary.external)


def answer(summary: Summary) -> str:
    """The study's answer in one sentence, with its interval."""
    if not summary.differences:
        return f"This run has one arm only, {summary.arms[0]}, and so nothing to compare it with."
    first = summary.differences[0]
    arm = arms(summary)[first.first]
    collapsed = _collapsed(summary, first)
    if collapsed:
        sentence = f"{collapsed} Balanced accuracy: {_against(summary, first)}."
    elif first.verdict == "unclear":
        sentence = f"{_not_resolved(first)} Balanced accuracy: {_against(summary, first)}."
    else:
        sentence = f"{arm.subject} {_EFFECTS[first.verdict]}: {_against(summary, first)}."
    if not arm.is_generated:
        return f"This run has no synthetic arm and does not say whether synthetic images help. {sentence}"
    return sentence


def caveat(summary: Summary) -> str:
    """What the interval of the headline means, and its limits."""
    if not summary.differences:
        return "Add arms to the config to compare."
    first = summary.differences[0]
    text = _of_interval(summary, first) + _of_parts(first)
    if summary.without_test_images:
        text += f" Without test images, and so left out: {listing(summary.without_test_images)}."
    one, other = (arms(summary)[name] for name in (first.first, first.second))
    if one.is_generated and other.rows is None:
        text += " With no oversampled arm, re-balancing may be part of the effect."
    return text


def question(summary: Summary, difference: Difference) -> str:
    """What the difference measures."""
    questions = arms(summary)[difference.first].questions
    return questions.get(difference.second, f"what {difference.first} brings over {difference.second}")


def arm_note(summary: Summary, name: str) -> str:
    """What an arm trains on."""
    note, external = arms(summary)[name].note, summary.external.get(name)
    return f"{note}, from {external.folder}" if external else note


def verdict(difference: Difference) -> str:
    """The verdict in two or three words."""
    return {
        "higher": f"{difference.first} is higher",
        "lower": f"{difference.first} is lower",
        "unclear": "not resolved",
        "undefined": "undefined",
    }[difference.verdict]


def random_split(summary: Summary) -> str:
    """Why the random split's figure is not to be believed; empty where none was run."""
    if summary.random_split is None:
        return ""
    claimed, honest = summary.random_split.balanced_accuracy, summary.balanced_accuracy["real"]
    leaked = summary.random_split.leaked / max(1, summary.random_split.images)
    gap = "" if claimed.mean is None or honest.mean is None else f", {points(claimed.mean - honest.mean)} points,"
    return (
        "The same images, as many of each class in each part, but divided at random, image by image: "
        f"{leaked:.0%} of its {count(summary.random_split.images, 'test image')} have another image of their leakage "
        "group in its train part, so it measures in part what the classifier remembers. It is trained on photographs "
        "as they are. Its distance from the honest "
        f"figure{gap} is partly chance, since its test part has other images; it is in no comparison of this report."
    ).replace("%", " %")


def regime(summary: Summary) -> str:
    """The regime by name, in words."""
    if summary.regime == "limited":
        return (
            "limited: of each rare class the classifier, too, is trained only on the images that the generator was "
            "trained on, as if no more existed"
        )
    return "shots: only the generator is limited to a few images of each rare class; the classifier uses all of train"


def classifier(summary: Summary) -> str:
    """The classifier's network and its initial weights."""
    config = summary.config["classifier"]
    network, weights = config["model"], config["weights"]
    match weights:
        case "none":
            return f"{network}, from scratch"
        case "phantoms":
            return f"{network}, initialised from the embedded weights, which were trained on drawings of common classes"
        case "pretrained":
            return f"{network}, initialised from timm’s pretrained weights"
        case "lite0-package":
            return (
                f"{network}, initialised from EfficientNet-Lite0’s ImageNet weights: a stand-in for EfficientNet-B0, "
                "used where that one’s weights cannot be downloaded; scores are not comparable with EfficientNet-B0’s"
            )
        case _:
            return f"{network}, initialised from the weights in {weights}"


def seeds(summary: Summary) -> str:
    """Which seeds the study has, and what each determines."""
    study, generator = summary.study_seeds, summary.generator_seeds
    made = "the fine-tunes and the synthetic images"
    verb = "determines" if len(study) == 1 else "determine"
    if generator == study:
        determined = f"Study {_seeds(study)} {verb} the split, the few-shot images, {made}"
    else:
        determined = f"Study {_seeds(study)} {verb} the split and the few-shot images, "
        determined += f"generator {_seeds(generator)} {made}"
    return f"{determined}; classifier {_seeds(summary.seeds)} what of training is random."


def repeats(summary: Summary) -> str:
    """What differs between the repeats of a study."""
    text = ""
    if len({one.fold for one in summary.repeats}) > 1:
        each = "Of each seed every" if len(summary.repeats) > summary.config["split"]["n_splits"] else "Every"
        text += (
            f"{each} image is tested once, in the fold whose classifiers and generators have not seen it; no leakage "
            "group is tested in two folds. "
        )
    if len(summary.study_seeds) > 1:
        what = "its train and validation parts" if summary.split.test == "official" else "all of its parts"
        text += f"Each study seed divides the images anew, {what}, and draws other few-shot images. "
    if len({one.generator_seed for one in summary.repeats if one.study_seed == summary.study_seeds[0]}) > 1:
        text += "Each generator seed makes the fine-tunes and the synthetic images anew from the same few-shot images. "
    return text + "Each repeat’s own report tells how it was divided, and what each of its parts has seen."


def probabilities(summary: Summary) -> str:
    """How the probabilities were made from the classifiers' outputs."""
    config = summary.config["classifier"]
    views = config.get("test_views", 1)
    text = f"the mean of an image’s {views} rotations and flips" if views > 1 else "each image as it is"
    fitted = sorted(t for training in summary.training.values() for t in training.temperatures.values())
    if not fitted:
        return f"Probabilities are of {text}; no temperature was fitted."
    return (
        f"Probabilities are of {text}, logits divided by a temperature that was fitted on the validation part, never "
        f"on the test part: {fitted[0]:.2f} to {fitted[-1]:.2f} over {count(len(fitted), 'classifier')}."
    )


def class_name(summary: Summary, label: str) -> str:
    """The class in words; empty where they are its label."""
    words = words_for(label, summary.config["prompts"]["class_names"])
    return "" if words.casefold() == label.casefold() else words


def class_title(summary: Summary, label: str) -> str:
    """The class by label and, where there is one, name, e.g. df (dermatofibroma)."""
    name = class_name(summary, label)
    return f"{label} ({name})" if name else label


def origins(arm: Arm, counts: Mapping[str, int]) -> list[tuple[str, str, int]]:
    """Source, its name in this arm and number of a class's training images, where there are any; repeated ones last.

    Images that are not real are named by what the arm fills up with.
    """
    made = "synthetic" if arm.source == "external" else arm.source
    rows = [(source, made if source == "synthetic" else source, n) for source, n in counts.items() if n]
    return sorted(rows, key=lambda row: row[0] == "repeated")


def preview_step(path: str) -> str:
    """What a preview shows, from its name: step-000100.jpg is step 100."""
    stem = PurePosixPath(path).stem
    return f"step {int(stem[5:]):,}" if stem.startswith("step-") and stem[5:].isdigit() else stem


def _collapsed(summary: Summary, difference: Difference) -> str:
    """What makes a difference say nothing of the images: classifiers that name all alike, or are at chance."""
    both = (difference.first, difference.second)
    alike = [arm for arm in both if _names_all_alike(summary, arm)]
    if alike:
        return f"No answer: the classifiers of {listing(tuple(alike))} name every test image alike."
    lows = {arm: summary.balanced_accuracy[arm].low for arm in both}
    guessing = [arm for arm, low in lows.items() if low is not None and low <= summary.chance]
    if not guessing:
        return ""
    return f"No answer: {listing(tuple(guessing))} cannot be told from chance, which is {share(summary.chance)}."


def _names_all_alike(summary: Summary, arm: str) -> bool:
    """Whether each of an arm's classifiers finds all images of one class and none of the others."""
    scores = [score for score in summary.per_class_recall[arm].values() if score.images]
    seeds = sorted({seed for score in scores for seed in score.per_seed})
    found = [[score.per_seed.get(seed) for score in scores] for seed in seeds]
    return bool(found) and all(each.count(1.0) == 1 and each.count(0.0) == len(each) - 1 > 0 for each in found)


def _of_interval(summary: Summary, first: Difference) -> str:
    tested = f"{images_tested(summary)} and {count(_classifiers(summary), 'classifier')} an arm"
    match first.verdict:
        case "unclear":
            return f"The interval holds zero: {tested} cannot tell whether there is a gain, a loss or no effect."
        case "undefined":
            return f"A class without a test image leaves balanced accuracy undefined ({tested})."
        case verdict:
            word = "above" if verdict == "higher" else "below"
            return f"The whole interval lies {word} zero, measured on {tested}."


def _classifiers(summary: Summary) -> int:
    """Classifiers of an arm."""
    name = summary.differences[0].first
    folds = {repeat.fold for repeat in summary.repeats}  # figures by seed are by draw and seed, over all folds
    return len(summary.balanced_accuracy[name].per_seed) * max(1, len(folds))


def _of_parts(first: Difference) -> str:
    """What the interval leaves out, where that is more than a division into folds."""
    held = {part.name for part in first.parts}
    if first.verdict == "undefined" or "draw" in held:
        return ""
    if "classifier seeds" not in held:
        return " What another classifier seed or another draw of the generator would change is not in the interval."
    return (
        " What another draw of the generator would change is not in the interval, and more classifier seeds do not put "
        "it there; further study seeds, generator seeds or folds do."
    )


def _not_resolved(difference: Difference) -> str:
    if difference.smallest is None:
        return "Not resolved: the arms’ predictions are the same."
    return (
        f"Not resolved: this study could see only differences of about {smallest_effect(difference.smallest)} points."
    )


def _against(summary: Summary, difference: Difference) -> str:
    one, other = (summary.balanced_accuracy[arm].mean for arm in (difference.first, difference.second))
    text = f"{difference.first} {share(one)} against {difference.second} {share(other)}"
    if difference.mean is None or difference.low is None:
        return text
    return f"{text}, difference {points(difference.mean)} points {point_interval(difference)} (95 %)"


def _seeds(numbers: Sequence[int]) -> str:
    """Seeds in words, e.g. seed 0, or seeds 0 and 1."""
    return f"seed{'' if len(numbers) == 1 else 's'} {listing(tuple(map(str, numbers)))}"
