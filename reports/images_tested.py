"""How many test images there are, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reports.numbers import count

if TYPE_CHECKING:
    from reports.schema import Summary


def images_tested(summary: Summary, image: str = "test image") -> str:
    """The test images and their leakage groups; study seeds divide anew, so each has images of its own.

    E.g. 2,239 test images in 1,850 leakage groups, or 3,007 test images a study seed, in 4,850 leakage groups in all.
    """
    images, groups = count(summary.test_images, image), count(summary.test_groups, "leakage group")
    if len({repeat.study_seed for repeat in summary.repeats}) > 1:
        return f"{images} a study seed, in {groups} in all"
    return f"{images} in {groups}"
