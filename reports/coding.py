"""The coding of images in words: how photographs were shown, and whether classifiers read the decoder's trace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.numbers import listing, percent

if TYPE_CHECKING:
    from reports.schema import Summary

_TRACE = 0.03  # of common images more that are named rare once coded, from which the probe warns


def mode(summary: Summary) -> str:
    """How photographs were coded in training, in words."""
    match summary.config.get("coding", "none"):
        case "mixed":
            return (
                "In this study photographs of every class were also shown passed through the same autoencoder, so that "
                "decoded images have the same share in every class of an arm."
            )
        case "all":
            return (
                "In this study every image of every part was passed through the autoencoder once; the kept classifiers "
                "pass a new image through it too."
            )
        case _:
            return "In this study photographs were shown as they are; only images that rare classes got were decoded."


def is_blind(summary: Summary) -> bool:
    """Whether no arm names clearly more common images rare once they are coded."""
    return not _readers(summary)


def finding(summary: Summary) -> str:
    """The coding probe's result in a sentence."""
    readers = _readers(summary)
    if not readers:
        return "No arm names clearly more common images as a rare class once they are coded: the trace tells little."
    most = max(readers, key=lambda arm: summary.probe[arm].difference)
    score = summary.probe[most]
    return (
        f"Coding alone makes {listing(tuple(readers))} name more common images as a rare class, {most} "
        f"{percent(score.photograph)} of them as photographs and {percent(score.coded)} coded: part of what such an "
        "arm learned is the trace of the decoder."
    )


def _readers(summary: Summary) -> list[str]:
    """Arms whose difference lies clearly above zero and is more than a few points."""
    return [
        arm for arm, score in summary.probe.items()
        if score.difference > _TRACE and (score.interval.low or 0.0) > 0
    ]  # fmt: skip
