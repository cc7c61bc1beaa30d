"""Batched work that halves its batch when the device runs out of memory.

The batch that fits depends on the card and on what else occupies it, so it is found by trying.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Result = TypeVar("Result")


def with_oom_backoff(work: Callable[[slice], Result], n: int, chunk: int) -> tuple[list[Result], int]:
    """The results of `work` for each chunk of n images, in order, and the chunk size used in the end.

    A chunk that does not fit the device's memory is halved until it does; finished chunks are not computed again.
    Raises torch.OutOfMemoryError if a single image does not fit.
    """
    results, done = list[Result](), 0
    while done < n:
        size = min(chunk, n - done)
        try:
            results.append(work(slice(done, done + size)))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        else:
            done += size
            continue
        chunk = size // 2
        _free_memory()  # after the handler: while the exception is handled it keeps the failed chunk's tensors alive
    return results, chunk


def _free_memory() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
