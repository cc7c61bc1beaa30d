"""What the defences cost: a study of phantoms with them and without, in turn, each pair one after the other.

Without: nothing is put on disk, no digest of a file and no checksum of pixels is computed. The time spent within the
defences is measured too, as the ratio of two runs has the noise of the machine.
"""

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from measure import log, median_range
from study_plan import StderrRunner

from data import pixels, store, training_state
from flows.pipeline import run_study
from flows.study import load_study

CONFIG = Path(__file__).parents[1] / "configs" / "demo.yaml"
SMALL = (  # seconds of work; the less a study computes, the more its defences weigh
    "data.phantom.images=700", "data.phantom.test_lesions=10", "finetune.steps=20", "finetune.batch_size=8",
    "generate.steps=4", "fill_to=60", "classifier.steps=32", "classifier.validate_every=16",
    "arms=[real, oversampled, synthetic]", "seeds=[0]",
)  # fmt: skip
_DEFENCES: tuple[tuple[Any, str, object], ...] = (  # module, function, and its answer where there is no defence
    (os, "fsync", None),
    (os, "sync", None),
    (store, "file_sha256", ""),
    (training_state, "file_sha256", ""),
    (pixels, "_checksum", "0" * 8),
)


def costs(folder: Path, pairs: int, overrides: Sequence[str]) -> list[str]:
    """Seconds with the defences and without, their ratio, and the share of a run that the defences take."""
    runs: dict[bool, list[float]] = {True: [], False: []}
    shares = list[float]()
    _seconds(folder, ["data.phantom.images=200", *overrides], defended=True)  # libraries are loaded
    for pair in range(pairs):
        for defended in (True, False) if pair % 2 else (False, True):
            seconds, within = _seconds(folder, overrides, defended=defended)
            runs[defended].append(seconds)
            if defended:
                shares.append(within / (seconds - within))
            log(f"pair {pair + 1}, {'with' if defended else 'without'}: {seconds:.1f} s, {within:.2f} s in defences")
    ratios = [one / other for one, other in zip(runs[True], runs[False], strict=True)]
    return [
        f"{pairs} pairs, median [smallest, largest]",
        f"with the defences: {median_range(runs[True])} s, without: {median_range(runs[False])} s",
        f"ratio: {median_range(ratios)}",
        f"time within the defences, of the rest: {median_range([100 * share for share in shares])} %",
    ]


def _seconds(folder: Path, overrides: Sequence[str], *, defended: bool) -> tuple[float, float]:
    """Seconds of a whole run from nothing, and of them those within the defences."""
    shutil.rmtree(folder, ignore_errors=True)
    os.sync()  # what the run before has left
    study = load_study(CONFIG, [*overrides, f"output_dir={folder}"])
    with _timed() if defended else _off() as within:
        start = time.perf_counter()
        run_study(study, StderrRunner())
        return time.perf_counter() - start, sum(within)


@contextlib.contextmanager
def _off() -> Iterator[list[float]]:
    with contextlib.ExitStack() as stack:
        for module, name, answer in _DEFENCES:
            stack.enter_context(mock.patch.object(module, name, lambda *_, answer=answer: answer))
        yield []


@contextlib.contextmanager
def _timed() -> Iterator[list[float]]:
    spent = list[float]()

    def timed(work: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:  # noqa: ANN401
            start = time.perf_counter()
            try:
                return work(*given)
            finally:
                spent.append(time.perf_counter() - start)

        return call

    with contextlib.ExitStack() as stack:
        for module, name, _ in _DEFENCES:
            stack.enter_context(mock.patch.object(module, name, timed(getattr(module, name))))
        yield spent
