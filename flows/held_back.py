"""Photographs of a rare class's train part that its generator has not seen: some choose its step, others measure it.

One a leakage group, so that they are independent. Where `split.limit_real_to_shots` holds photographs back from the
classifier they still measure the generator, and never choose anything: the study asks what the shots alone are worth.
"""

from __future__ import annotations

import numpy as np

from augment.base.provenance import base_provenance
from augment.finetune.select import FEWEST_HELD_OUT
from classify.features import KnownFeatures, known_features
from data.manifest import Manifest
from data.splits.provenance import Provenance
from data.store import derive_seed
from flows.prepared import Prepared
from flows.stages import base

_MOST_CHOOSE = 64  # photographs that choose a step
_MOST_HELD_OUT = 32  # photographs whose loss is shown


def features_of(prepared: Prepared) -> KnownFeatures | None:
    """The features that the study's sets of images are compared by; None: no network is at hand."""
    return known_features(phantoms=prepared.study.data.source == "phantom")


def unseen(prepared: Prepared, label: str) -> Manifest:
    """One photograph of each leakage group that neither shots nor base hold, in an order drawn by the study's seed.

    A base of unknown training counts as having seen none of them; its provenance is in the report.
    """
    config = prepared.study.base
    seen = Provenance.of(prepared.shots[label])
    seen |= base_provenance(config) if config.own is None else Provenance.of(base.part_of(prepared))
    part = prepared.split.train.of(label)
    free = part.where(~part.table["group_id"].isin(seen.groups_in(part)) & (part.table["source"] == "real"))
    rng = np.random.default_rng(derive_seed(prepared.study.study_seed, "held back", label))
    order = rng.permutation(len(free))
    shuffled = Manifest(free.table.iloc[order].reset_index(drop=True), free.roots)
    return shuffled.where(~shuffled.table["group_id"].duplicated())


def choosing(prepared: Prepared, label: str) -> Manifest:
    """The photographs that choose the step of a class's adapter; none where nothing is chosen or there are too few.

    The last `select_shots` of the shots, or half of the unseen photographs.
    """
    config, shots = prepared.study.finetune, prepared.shots[label]
    if config.select_every is None:
        return shots.first(0)
    if config.select_shots:
        rng = np.random.default_rng(derive_seed(prepared.study.study_seed, "choosing shots", label))
        chosen = rng.permutation(len(shots))[: config.select_shots]
        held_out = Manifest(shots.table.iloc[np.sort(chosen)].reset_index(drop=True), shots.roots)
        return held_out if FEWEST_HELD_OUT <= len(held_out) <= len(shots) - 2 else shots.first(0)
    return _half_of_unseen(prepared, label)


def held_out(prepared: Prepared, label: str) -> Manifest:
    """The photographs whose loss is shown while the class is trained; none where there are too few, or none are wanted.

    Those that choose the step, where the config asks for a choice, else others as many: whoever looks at their loss may
    stop the training by it.
    """
    config = prepared.study.finetune
    if not config.held_out_every:
        return prepared.shots[label].first(0)
    found = choosing(prepared, label) if config.select_every is not None else _half_of_unseen(prepared, label)
    return found.first(_MOST_HELD_OUT)


def measuring(prepared: Prepared, label: str) -> Manifest:
    """The unseen photographs that choose nothing and whose loss nobody sees, and so measure the generator."""
    used = {group for of in (choosing, held_out) for group in of(prepared, label).table["group_id"]}
    free = unseen(prepared, label)
    return free.where(~free.table["group_id"].isin(used))


def trained_on(prepared: Prepared, label: str) -> Manifest:
    """The shots that the adapter is trained on: all but those that choose its step."""
    shots, used = prepared.shots[label], set(choosing(prepared, label).table["group_id"])
    return shots.where(~shots.table["group_id"].isin(used))


def _half_of_unseen(prepared: Prepared, label: str) -> Manifest:
    """Half of the unseen photographs; none where that is too few, and where the study asks what the shots are worth."""
    if prepared.study.split.limit_real_to_shots:
        return prepared.shots[label].first(0)
    free = unseen(prepared, label)
    half = min(len(free) // 2, _MOST_CHOOSE)
    return free.first(half if half >= FEWEST_HELD_OUT else 0)


def origin(prepared: Prepared) -> str:
    """What the photographs are that choose a step, or whose loss is held out, in words."""
    return (
        "shots that are not trained on" if prepared.study.finetune.select_shots else "other lesions of the train part"
    )


def why_none(prepared: Prepared, label: str) -> str:
    """Why no photographs choose a class's step, where the config asks for a choice."""
    if prepared.study.finetune.select_shots:
        n = len(prepared.shots[label])
        return f"of its {n} shots none can be held out: {FEWEST_HELD_OUT} have to choose, and 2 to be trained on"
    if prepared.study.split.limit_real_to_shots:
        return "the study asks what the shots alone are worth, so no other photograph may choose (select_shots can)"
    n = len(unseen(prepared, label))
    return f"{n} other lesions of its train part are too few, {2 * FEWEST_HELD_OUT} are needed: half of them choose"


def why_no_loss(prepared: Prepared, label: str) -> str:
    """Why a class has no held-out loss, where the config asks for one."""
    if prepared.study.finetune.select_every is not None:
        return why_none(prepared, label)
    if prepared.study.split.limit_real_to_shots:
        return "the study asks what the shots alone are worth, so no other photograph is looked at"
    n = len(unseen(prepared, label))
    return f"{n} other lesions of its train part are too few, {2 * FEWEST_HELD_OUT} are needed: half are held out"
