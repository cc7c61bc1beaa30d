"""Provenance in words: of the base and of external images, and the rows of the provenance table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reports.numbers import count, listing

if TYPE_CHECKING:
    from classify.arms import Arm
    from reports.schema import ExternalImages, ProvenanceRow, SplitCounts

_NAMES = {
    "base": "Base model",
    "generator": "Generator of {name}",
    "external": "Generator of {name}",
    "weights": "Initial weights",
    "classifier": "Classifier {name}",
    "checkpoint": "Choice of checkpoints",
    "figures": "This report’s figures",
}
_ROLES = {
    "base": "every generator is fine-tuned from it: {name}",
    "generator": "its few-shot images, and what its base has seen",
    "external": "another program, which made that arm’s images",
    "weights": "every classifier is initialised from them: {name}",
    "classifier": "its real images, and what the generators of the others have seen",
    "checkpoint": "decides which step of a classifier is kept",
    "figures": "read once, at the end",
}


def row_name(row: ProvenanceRow) -> str:
    """What a row of the provenance table is of."""
    return _NAMES.get(row.kind, row.kind).replace("{name}", row.name)


def row_role(row: ProvenanceRow, arms: Mapping[str, Arm]) -> str:
    """The role of that part of the run, or where what it has seen comes from."""
    if row.kind == "classifier" and arms[row.name].source in ("", "train"):
        return "the images that it is trained on"
    role = _ROLES.get(row.kind, "").replace("{name}", row.name)
    return f"{role}; {row.note}" if row.note else role


def base_in_words(record: Mapping[str, Any]) -> str:
    """What a base was trained on, by its training record: "unknown" for an empty one, as of a base from a hub.

    A study's own base names the `part` of the split that its images are, and the base that it was continued from
    (`before`).
    """
    if not record:
        return "unknown"
    classes = ", ".join(f"{label} {n:,}" for label, n in record["by_class"].items())
    text = count(record["images"], "image") + (f" ({classes})" if classes else "")
    groups = record["groups"]
    text += f"; {count(groups, 'leakage group') if isinstance(groups, int) else groups}"
    text += f", all of the {record['part']} part" if "part" in record else ""
    return f"{text}; before that {base_in_words(record['before'])}" if "before" in record else text


def external_in_words(images: ExternalImages) -> str:
    """What is known of images made by another program, and what was checked."""
    copies = count(images.copies_of_train, "image")
    text = f"{count(images.images, 'image')} from {images.folder}"
    if images.different < images.images:
        text += f", only {images.different:,} of them different files"
    if images.by_hand is not None:
        accepted, rejected = images.by_hand["accepted"], images.by_hand["rejected"]
        text += f". A person chose them by eye: {accepted:,} were accepted, {rejected:,} rejected"
    text += ". " + (
        "Their lineage is unknown: their generator may have seen images of the test part, and this cannot be ruled out."
        if images.seen is None
        else f"A record beside them says that their generator has seen {count(images.seen, 'leakage group')} of train."
    )
    return (
        f"{text} None is nearly the same as an image of the validation or test part; {copies} "
        f"{'is' if images.copies_of_train == 1 else 'are'} nearly the same as one of the train part."
    )


def links(split: SplitCounts) -> str:
    """What joins images into leakage groups, e.g. 120 lesion and 7 duplicate links; empty if nothing does."""
    kinds = tuple(f"{n:,} {kind}" for kind, n in split.links.items() if n)
    return f"{listing(kinds)} links" if kinds else ""
