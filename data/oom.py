"""Work on many images a chunk at a time, in chunks that the device's memory holds.

What fits depends on the card and on what else lies on it, so no number is right everywhere: it is found by trying.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

Part = TypeVar("Part")


def with_oom_backoff(work: Callable[[slice], Part], n: int, chunk: int) -> tuple[list[Part], int]:
    """What `work` gives of each chunk of n images, in order, and how many at a time it took in the end.

    Where a chunk does not fit the device's memory, half of it is tried, and so on; what is done is not done again.
    Raises torch.OutOfMemoryError where not even one fits.
    """
    found, done = list[Part](), 0
    while done < n:
        size = min(chunk, n - done)
        try:
            found.append(work(slice(done, done + size)))
        except torch.OutOfMemoryError:
            if size == 1:
                raise
        else:
            done += size
            continue
        chunk = size // 2
        _release()  # not above: as long as the exception is handled it holds what was computed
    return found, chunk


def _release() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.empty_cache()
