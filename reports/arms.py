"""The arms of a run by the table of `classify.arms`, and the order in which they are compared."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from classify.arms import ARMS, Arm, arm_of, external_arm
from data.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence


def arms_of(names: Iterable[str], external: Collection[str]) -> dict[str, Arm]:
    """The arms by name; `external`: those whose images another program made. Raises InputError for an unknown one."""
    arms = {name: external_arm(name) if name in external else arm_of(name) for name in names}
    unknown = [name for name, arm in arms.items() if arm is None]
    if unknown:
        raise InputError(f"arm {unknown[0]!r}: is not one of {', '.join(ARMS)} and has no external images; run it anew")
    return {name: arm for name, arm in arms.items() if arm is not None}


def comparisons(arms: Sequence[Arm]) -> list[tuple[str, str]]:
    """Pairs of arms to be compared, the headline first.

    Arms of generated images come first, the table's last row before the others and those with a number last, then
    external ones in the order of the run, then the rest. Where no arm has its counterpart, each is compared with the
    one before it.
    """
    rows = {name: number for number, name in enumerate(ARMS)}

    def rank(arm: Arm) -> tuple[bool, bool, int]:
        is_external = arm.source == "external"
        return (not arm.is_generated, is_external, 0 if is_external else -rows.get(arm.name, -1))

    names = {arm.name for arm in arms}
    pairs = [(arm.name, other) for arm in sorted(arms, key=rank) for other in arm.compared_with if other in names]
    return pairs or [(second.name, first.name) for first, second in pairwise(arms)]
