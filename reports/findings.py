"""What the headline means, in words: photographs found by class, worth in photographs, tests, and warnings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.numbers import listing, p_value, share
from reports.text import arms, class_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reports.schema import Difference, Found, Place, Summary, Worth

_MOST_CLASSES = 3  # that the first sentence on classes names
_ONE_CLASS = 0.95  # share of an arm's predictions in one class from which it is said to name that class alone


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


def worth_of_class(summary: Summary, of: Worth, label: str) -> str:
    """The same for one class's recall, on the curve of the class's own photographs; a dash where it has no curve."""
    if label not in of.by_class:
        return "–"
    names = summary.curve.photographs if summary.curve else {}
    numbers = sorted({float(summary.training[name].counts[label]["real"]) for name in names})
    return photographs_in_words(of.by_class[label], numbers)


def doses(summary: Summary) -> str:
    """Which dose the validation part chooses, and the scores that it does so by."""
    found = summary.doses
    if not found:
        return ""
    scores = listing(tuple(f"{arm} {share(score)}" for arm, score in found.validation.items()))
    none = "no synthetic images" if found.chosen == "real" else found.chosen
    return (
        f"Dose by the validation part: {none}, the smallest whose balanced accuracy there is within one standard error "
        f"of the best ({scores}). Its figure on the test part stands below."
    )


def own_photographs(summary: Summary) -> str:
    """Photographs of a rare class that the arms with generated images train on themselves."""
    worths = summary.curve.worths if summary.curve else ()
    numbers = dict.fromkeys(f"{each.photographs:.0f}" for each in worths)
    return f"{listing(tuple(numbers))} photographs of a rare class"


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
    """What is wrong with generators and classifiers as such, whatever the difference between them."""
    figures = [summary.weighted_recall[arm].mean or 0.0 for arm in summary.arms]
    texts = []
    if summary.stopped:
        texts.append(
            f"Fine-tunes that were not trained to their end: {listing(summary.stopped)}. What is said of synthetic "
            "images is said of theirs."
        )
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


def parts(difference: Difference) -> str:
    """The sources of a difference's variance with their shares."""
    named = [f"{part.name} {100 * part.share:.0f} %" for part in difference.parts if part.share > 0]
    return ", ".join(named) or "none"


def mcnemar(difference: Difference) -> str:
    """What each arm alone classifies correctly and the exact p value, by repeat."""
    found = (f"{one.first_alone}:{one.second_alone}, p {p_value(one.p_value)}" for one in difference.mcnemar)
    return "; ".join(found)
