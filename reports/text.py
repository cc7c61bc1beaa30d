"""A summary in plain words: the answer in one sentence, and what it does not say. Numbers are written here alone."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from augment.prompts import words_for

if TYPE_CHECKING:
    from reports.schema import Change, Difference, Elsewhere, Score, Seen, SplitCounts, Summary

MINUS = "\N{MINUS SIGN}"
_FEW_GROUPS = 10  # of a class in the test part, below which drawing them anew says too little
_VERDICTS = {
    "higher": "raised balanced accuracy",
    "lower": "lowered balanced accuracy",
    "unclear": "made no clear difference to balanced accuracy",
    "undefined": "cannot be judged",
}
_SUBJECTS = {
    ("synthetic", "oversampled"): "Synthetic images",
    ("synthetic", "real"): "Synthetic images",
    ("oversampled", "real"): "Repeating real images",
}
_QUESTIONS = {
    ("synthetic", "oversampled"): "what the content of the synthetic images brings: the counts are equal",
    ("synthetic", "real"): "what content and re-balancing bring together",
    ("oversampled", "real"): "what re-balancing alone brings",
}
_ARM_NOTES = {
    "real": "the training images as they are",
    "oversampled": "rare classes repeated, with ordinary augmentation, up to the same counts as with synthetic images",
    "synthetic": "rare classes filled up with synthetic images to those counts",
}


def answer(summary: Summary) -> str:
    """The study's answer in one sentence, with its interval."""
    if not summary.differences:
        return f"This run has one arm only, {summary.arms[0]}, and so nothing to compare it with."
    first = summary.differences[0]
    sentence = f"{subject(summary, first)} {_VERDICTS[first.verdict]}: {_against(summary, first)}."
    if first.first not in {"synthetic", *summary.elsewhere}:
        return f"This run has no synthetic arm and does not say whether synthetic images help. {sentence}"
    return sentence


def subject(summary: Summary, difference: Difference) -> str:
    """What the first arm did, as a sentence's subject."""
    if difference.first in summary.elsewhere:
        return f"Images made elsewhere ({difference.first})"
    return _SUBJECTS.get((difference.first, difference.second), f"The arm {difference.first}")


def question(summary: Summary, difference: Difference) -> str:
    """What the difference measures."""
    pair = (difference.first, difference.second)
    if difference.first in summary.elsewhere and difference.second == "synthetic":
        return "what images made elsewhere bring over this program’s: the counts are equal"
    if difference.first in summary.elsewhere:
        pair = ("synthetic", difference.second)
    return _QUESTIONS.get(pair, f"what {difference.first} brings over {difference.second}")


def arm_note(summary: Summary, arm: str) -> str:
    """What an arm trains on."""
    made = summary.elsewhere.get(arm)
    if made:
        return f"rare classes filled up to the same counts with images made elsewhere, from {made.folder}"
    return _ARM_NOTES.get(arm, "")


def lineage(made: Elsewhere) -> str:
    """What is known of images that were made elsewhere, and what was looked at."""
    copies = count(made.copies_of_train, "image")
    text = f"{count(made.images, 'image')} from {made.folder}"
    if made.different < made.images:
        text += f", only {made.different:,} of them different files"
    text += ". " + (
        "Their lineage is unknown: what their generator has seen, no one here can say, and it may be images of the "
        "test part."
        if made.seen is None
        else f"A record beside them says that their generator has seen {count(made.seen, 'leakage group')} of train."
    )
    return (
        f"{text} None is nearly the same as an image of the validation or test part; {copies} "
        f"{'is' if made.copies_of_train == 1 else 'are'} nearly the same as one of the train part."
    )


def verdict(difference: Difference) -> str:
    """The verdict in two or three words."""
    return {
        "higher": f"{difference.first} is higher",
        "lower": f"{difference.first} is lower",
        "unclear": "not distinguishable from none",
        "undefined": "undefined",
    }[difference.verdict]


def caveat(summary: Summary) -> str:
    """What the interval of the headline means, and no more than that."""
    if not summary.differences:
        return "Add arms to the config to compare."
    first = summary.differences[0]
    tested = (
        f"{count(summary.test_images, 'test image')} in {count(summary.test_groups, 'leakage group')} and "
        f"{count(len(summary.seeds) * max(1, len(summary.folds)), 'classifier')} an arm"
    )
    match first.verdict:
        case "unclear":
            text = f"The interval holds zero: from {tested} a gain cannot be told from a loss, nor from none."
        case "undefined":
            text = f"A class without a test image leaves balanced accuracy undefined ({tested})."
        case _:
            word = "above" if first.verdict == "higher" else "below"
            text = f"The whole interval lies {word} zero, judged on {tested}."
    if len(summary.seeds) == 1:
        text += " What another classifier seed would change is not in the interval: give two or more."
    if summary.without_test_images and first.verdict != "undefined":
        text += f" Without test images, and so left out: {listing(summary.without_test_images)}."
    few = {label: recall.groups for label, recall in summary.per_class_recall[first.first].items()}
    few = {label: n for label, n in few.items() if 0 < n < _FEW_GROUPS}
    if few and first.verdict != "undefined":
        behind = listing(tuple(f"{label} ({n})" for label, n in few.items()))
        text += f" Fewer than {_FEW_GROUPS} leakage groups each are behind {behind}; the interval may be too short."
    if first.second != "oversampled" and first.first in {"synthetic", *summary.elsewhere}:
        text += " With no oversampled arm, re-balancing may be part of the effect."
    return text


def links(split: SplitCounts) -> str:
    """What ties images into leakage groups, e.g. 120 lesion and 7 duplicate links; empty where nothing does."""
    kinds = tuple(f"{n:,} {kind}" for kind, n in split.links.items() if n)
    return f"{listing(kinds)} links" if kinds else ""


def who(seen: Seen) -> str:
    """A row of the ledger by name."""
    match seen.kind:
        case "generator":
            return f"Generator of {seen.name}"
        case "elsewhere":
            return f"Makers of {seen.name}"
        case "classifier":
            return f"Classifier {seen.name}"
        case kind:
            return {
                "base": "Base model",
                "weights": "First weights",
                "checkpoint": "Choice of checkpoints",
                "figures": "This report’s figures",
            }.get(kind, kind)


def what_for(seen: Seen) -> str:
    """What that part of the run does with what it has seen."""
    if seen.kind == "classifier" and seen.name in ("real", "oversampled"):
        return "the images that it is trained on"
    return {
        "base": f"every generator continues it: {seen.name}",
        "generator": "its few images, and what its base has seen",
        "elsewhere": "drew that arm’s images, outside of this program",
        "weights": f"every classifier begins with them: {seen.name}",
        "classifier": "its real images, and what those who drew the others have seen",
        "checkpoint": "says which step of a classifier is kept",
        "figures": "read once, at the end",
    }.get(seen.kind, "")


def groups_seen(n: int, known: bool) -> str:
    """A cell of the ledger: a number of groups, with a question mark where there may be more."""
    return f"{n:,}" if known else f"{n:,} + ?" if n else "?"


def careless(summary: Summary) -> str:
    """What a random split would have claimed, in a sentence, and why it is not to be believed."""
    if summary.careless is None:
        return ""
    claimed, honest = summary.careless.balanced_accuracy, summary.balanced_accuracy["real"]
    share_leaked = summary.careless.leaked / max(1, summary.careless.images)
    gap = "" if claimed.mean is None or honest.mean is None else f", {points(claimed.mean - honest.mean)} points,"
    return (
        f"The same images, as many of each class in each part, but dealt out one by one: {share_leaked:.0%} of its "
        f"{count(summary.careless.images, 'test image')} have a twin in its train part, so it asks in part what the "
        f"classifier remembers. Its distance from the honest figure{gap} is chance in part, since the test images are "
        "others; it takes part in no comparison of this report."
    ).replace("%", " %")


def regime(summary: Summary) -> str:
    """The regime by name, in words."""
    if summary.regime == "limited":
        return (
            "limited: of each rare class the classifier, too, sees only the images that the generator saw, as if no "
            "more existed"
        )
    return "shots: only the generator is limited to a few images of each rare class; the classifier sees all of train"


def classifier(summary: Summary) -> str:
    """The classifier's network and what it began with."""
    config = summary.config.get("classifier", {})
    network, weights = str(config.get("model", "unknown")), str(config.get("weights", "none"))
    match weights:
        case "none":
            return f"{network}, from scratch"
        case "pretrained":
            return f"{network}, begun with timm’s pretrained weights"
        case "lite0-package":
            return (
                f"{network}, begun with EfficientNet-Lite0’s ImageNet weights: a stand-in for EfficientNet-B0, taken "
                "where that one’s own weights cannot be fetched; levels are not comparable with EfficientNet-B0’s"
            )
        case _:
            return f"{network}, begun with the weights in {weights}"


def command(summary: Summary) -> str:
    """What is typed to run the study again; for pooled folds, once a fold."""
    run = "python -m flows.augment_and_evaluate study.yaml"
    if not summary.folds:
        return run
    folds = " ".join(str(fold.fold) for fold in summary.folds)
    each = f"name={summary.name}-$fold split.fold=$fold"
    return f"for fold in {folds}; do\n  {run} {each}\ndone\npython -m reports.pool runs/{summary.name}-[0-9]*"


def class_name(summary: Summary, label: str) -> str:
    """The class in words, where there are better ones than its label."""
    words = words_for(label, summary.config.get("prompts", {}).get("words", {}))
    return "" if words.casefold() == label.casefold() else words


def share(value: float | None) -> str:
    """A figure between 0 and 1, e.g. 0.612; undefined is a dash."""
    return "–" if value is None else f"{value:.3f}"


def hundredths(value: float | None) -> str:
    """A figure between 0 and 1 that a few dozen images stand behind, e.g. 0.61."""
    return "–" if value is None else f"{value:.2f}"


def points(value: float | None) -> str:
    """A difference in percentage points with its sign, e.g. +2.2."""
    if value is None:
        return "–"
    text = f"{abs(100 * value):.1f}"
    sign = "" if text == "0.0" else "+" if value > 0 else MINUS
    return sign + text


def whole_points(value: float) -> str:
    """A tick in points, with no more decimals than it needs, e.g. +5."""
    text = f"{abs(100 * value):g}"
    return text if text == "0" else ("+" if value > 0 else MINUS) + text


def point_interval(difference: Difference | Change) -> str:
    """A difference's interval in points, e.g. [-1.0, +5.4]; empty where there is none."""
    if difference.low is None or difference.high is None:
        return ""
    return f"[{points(difference.low)}, {points(difference.high)}]"


def interval(score: Score, decimals: int = 3) -> str:
    """A score's interval, e.g. [0.58, 0.64]; empty where it has none."""
    if score.low is None or score.high is None:
        return ""
    return f"[{score.low:.{decimals}f}, {score.high:.{decimals}f}]"


def duration(seconds: float) -> str:
    """Seconds in words a person reads, e.g. 6 min 12 s."""
    if seconds < 9.95:  # noqa: PLR2004 - tenths while they show
        return f"{seconds:.1f} s"
    whole = round(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def unbroken(text: str) -> str:
    """The text with every interval, and every number and its unit, kept on one line."""
    return re.sub(r" (?=[^\[]*\])|(?<=\d) (?=points|%)|(?<=\]) (?=\()", "\N{NO-BREAK SPACE}", text)


def count(number: int, noun: str) -> str:
    """A number with its noun, e.g. 1,074 images."""
    return f"{number:,} {noun}" + ("" if number == 1 else "s")


def method_name(method: str) -> str:
    """A personalisation method as its authors write it."""
    return {"lora": "LoRA", "dreambooth": "DreamBooth"}.get(method, method)


def preview_step(path: str) -> str:
    """What a preview shows, from its name: step-000100.jpg is step 100."""
    stem = PurePosixPath(path).stem
    return f"step {int(stem[5:]):,}" if stem.startswith("step-") and stem[5:].isdigit() else stem


def listing(names: tuple[str, ...]) -> str:
    """Names as a sentence lists them: a, b and c."""
    return " and ".join(filter(None, (", ".join(names[:-1]), *names[-1:])))


def _against(summary: Summary, difference: Difference) -> str:
    one, other = (summary.balanced_accuracy[arm].mean for arm in (difference.first, difference.second))
    text = f"{difference.first} {share(one)} against {difference.second} {share(other)}"
    if difference.mean is None or difference.low is None:
        return text
    return f"{text}, difference {points(difference.mean)} points {point_interval(difference)} (95 %)"
