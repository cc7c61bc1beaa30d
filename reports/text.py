"""A summary in words: the answer in one sentence, its limits, and how the study was set up."""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from augment.prompts import words_for
from reports.arms import arms_of
from reports.numbers import count, listing, p_value, point_interval, points, share

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from classify.arms import Arm
    from reports.schema import Difference, Found, Place, Summary

_EFFECTS = {
    "higher": "raised balanced accuracy",
    "lower": "lowered balanced accuracy",
    "undefined": "have no defined effect on balanced accuracy",
}
_MOST_CLASSES = 3  # that the first sentence on classes names
_ONE_CLASS = 0.95  # share of an arm's predictions in one class from which it is said to name that class alone


def arms(summary: Summary) -> dict[str, Arm]:
    """The arms of a study by name."""
    return arms_of(summary.arms, summary.external)


def answer(summary: Summary) -> str:
    """The study's answer in one sentence, with its interval."""
    if not summary.differences:
        return f"This run has one arm only, {summary.arms[0]}, and so nothing to compare it with."
    first = summary.differences[0]
    arm = arms(summary)[first.first]
    if first.verdict == "unclear":
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


def smallest(difference: Difference) -> str:
    """Smallest effect that the study could see, in points."""
    points = 100 * (difference.smallest or 0.0)
    return f"{points:.0f}" if points >= 10 else f"{points:.1f}"  # noqa: PLR2004 - tenths while they matter


def parts(difference: Difference) -> str:
    """The sources of a difference's variance with their shares."""
    named = [f"{part.name} {100 * part.share:.0f} %" for part in difference.parts if part.share > 0]
    return ", ".join(named) or "none"


def mcnemar(difference: Difference) -> str:
    """What each arm alone classifies correctly and the exact p value, by repeat."""
    found = (f"{one.first_alone}:{one.second_alone}, p {p_value(one.p_value)}" for one in difference.mcnemar)
    return "; ".join(found)


def own_photographs(summary: Summary) -> str:
    """Photographs of a rare class that the arms with generated images train on themselves."""
    worths = summary.curve.worths if summary.curve else ()
    numbers = dict.fromkeys(f"{each.photographs:.0f}" for each in worths)
    return f"{listing(tuple(numbers))} photographs of a rare class"


def worth(summary: Summary) -> str:
    """What the headline's images are worth in photographs; empty where no curve was trained."""
    named = summary.differences[0].first if summary.differences else ""
    found = [each for each in summary.curve.worths if each.arm == named] if summary.curve else []
    if not summary.curve or not found:
        return ""
    one, numbers = found[0], list(summary.curve.photographs.values())
    images = "the synthetic images" if arms(summary)[named].source == "synthetic" else "the images"
    place = photographs_in_words(one.place, numbers)
    return f"{one.photographs:.0f} photographs and {images} did as well as {place} of a rare class."


def photographs_in_words(place: Place, numbers: Sequence[float]) -> str:
    """A place on the curve with its interval, e.g. 29 photographs [19, 47]."""
    fewest, most = f"fewer than {numbers[0]:.0f}", f"{numbers[-1]:.0f} or more"
    value = (fewest if place.is_below else most) if place.value is None else f"{place.value:.0f}"
    low = f"{place.low:.0f}" if place.low is not None else most if place.low_is_above else fewest
    high = f"{place.high:.0f}" if place.high is not None else fewest if place.high_is_below else most
    return f"{value} photographs" if low == high else f"{value} photographs [{low}, {high}]"


def ordered_classes(summary: Summary) -> list[str]:
    """Malignant classes first, then rare ones, then the others."""
    malignant = summary.config.get("malignant") or ()
    return sorted(summary.classes, key=lambda label: (label not in malignant, label not in summary.rare))


def found(summary: Summary) -> str:
    """How many photographs of the first classes more or fewer are found; empty without a comparison."""
    if not summary.differences:
        return ""
    first = summary.differences[0]
    labels = [label for label in ordered_classes(summary) if first.found[label].images][:_MOST_CLASSES]
    parts = [
        f"of {first.found[label].images:.0f} photographs of {class_name(summary, label) or label} "
        f"{found_in_words(first.found[label])}"
        for label in labels
    ]
    text = ", ".join(parts)
    return f"{text[:1].upper()}{text[1:]}, with {first.first} in place of {first.second}."


def found_in_words(counts: Found) -> str:
    """How many more or fewer, e.g. 11 fewer found (15 → 4)."""
    change = round(counts.first - counts.second, 1)
    words = f"{abs(change):g} {'more' if change > 0 else 'fewer'} found" if change else "as many found"
    return f"{words} ({round(counts.second, 1):g} → {round(counts.first, 1):g})"


def warnings(summary: Summary) -> list[str]:
    """What is wrong with the classifiers as such, whatever the difference between them."""
    figures = [summary.weighted_recall[arm].mean or 0.0 for arm in summary.arms]
    texts = []
    if max(figures) < summary.commonest:
        between = " to ".join(dict.fromkeys((share(min(figures)), share(max(figures)))))
        texts.append(
            f"Every arm lies below always naming the commonest class: plain accuracy {between} against "
            f"{share(summary.commonest)}. Balanced accuracy does not reward that, and says what classes are found."
        )
    for arm in summary.arms:
        columns = [sum(column) for column in zip(*summary.confusion[arm], strict=True)]
        low = summary.balanced_accuracy[arm].low
        if max(columns) > _ONE_CLASS * sum(columns):
            label = summary.classes[columns.index(max(columns))]
            texts.append(f"The classifiers of {arm} name nearly every image {label}: they have learnt nothing else.")
        elif low is not None and low <= summary.chance:
            texts.append(f"The interval of {arm} holds chance ({share(summary.chance)}): it may have learnt nothing.")
    return texts


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
        "group in its train part, so it measures in part what the classifier remembers. Its distance from the honest "
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


def _of_interval(summary: Summary, first: Difference) -> str:
    tested = (
        f"{count(summary.test_images, 'test image')} in {count(summary.test_groups, 'leakage group')} and "
        f"{count(_classifiers(summary), 'classifier')} an arm"
    )
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
    return len(summary.balanced_accuracy[name].per_seed) * max(1, len(summary.repeats))


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
    return f"Not resolved: this study could see only differences of about {smallest(difference)} points."


def _against(summary: Summary, difference: Difference) -> str:
    one, other = (summary.balanced_accuracy[arm].mean for arm in (difference.first, difference.second))
    text = f"{difference.first} {share(one)} against {difference.second} {share(other)}"
    if difference.mean is None or difference.low is None:
        return text
    return f"{text}, difference {points(difference.mean)} points {point_interval(difference)} (95 %)"


def _seeds(numbers: Sequence[int]) -> str:
    """Seeds in words, e.g. seed 0, or seeds 0 and 1."""
    return f"seed{'' if len(numbers) == 1 else 's'} {listing(tuple(map(str, numbers)))}"
