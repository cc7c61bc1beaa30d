"""The coding probe in numbers: common test images named as a rare class, as photographs and coded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from reports.schema import ProbeScore

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from reports.run_folder import RunFolder

FILE = "probe.csv"
_COLUMNS = ["image", "photograph", "coded"]
_RESAMPLES = 2000


def probe_scores(run: RunFolder, arms: Collection[str], seeds: Sequence[str]) -> dict[str, ProbeScore]:
    """By arm; empty where the study had no probe."""
    if not run.names("probe"):
        return {}
    test = run.table(run.artifact("split"), "test.csv", ["image_id", "group_id"])
    groups = dict(zip(test["image_id"], test["group_id"], strict=True))
    rare = tuple(run.record["rare"])
    return {
        arm: _score([run.table(run.artifact("arm", arm, s), FILE, _COLUMNS) for s in seeds], groups, rare)
        for arm in arms
    }


def pooled_probe(scores: Sequence[Mapping[str, ProbeScore]]) -> dict[str, ProbeScore]:
    """The probes of several repeats, each weighing the same; errors are taken as independent."""
    if not all(scores):
        return {}
    return {arm: _mean([score[arm] for score in scores]) for arm in scores[0]}


def _score(tables: Sequence[pd.DataFrame], groups: Mapping[str, str], rare: Sequence[str]) -> ProbeScore:
    """Shares averaged over the seeds; the interval of their difference is from resampled leakage groups."""
    named = {form: np.mean([table[form].isin(rare).to_numpy() for table in tables], axis=0) for form in _COLUMNS[1:]}
    gain = named["coded"] - named["photograph"]
    names, group = np.unique([groups[image] for image in tables[0]["image"]], return_inverse=True)
    error = _standard_error(
        np.bincount(group, gain, len(names)).astype(np.float64),
        np.bincount(group, minlength=len(names)).astype(np.float64),
    )
    return ProbeScore(
        images=len(gain),
        photograph=float(named["photograph"].mean()),
        coded=float(named["coded"].mean()),
        difference=float(gain.mean()),
        error=error,
    )


def _standard_error(sums: NDArray[np.float64], counts: NDArray[np.float64]) -> float:
    rng = np.random.default_rng(0)
    weights = rng.multinomial(len(sums), np.full(len(sums), 1 / len(sums)), size=_RESAMPLES)
    return float(((weights @ sums) / (weights @ counts)).std())


def _mean(scores: Sequence[ProbeScore]) -> ProbeScore:
    return ProbeScore(
        images=sum(score.images for score in scores),
        photograph=float(np.mean([score.photograph for score in scores])),
        coded=float(np.mean([score.coded for score in scores])),
        difference=float(np.mean([score.difference for score in scores])),
        error=float(np.sqrt(np.sum([score.error**2 for score in scores])) / len(scores)),
    )
