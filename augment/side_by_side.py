"""Parts of a batch side by side: on a CPU a core a part beats all cores for the whole.

A small network's layers are too short to be divided: after each of them the cores would wait for one another.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import torch
from jaxtyping import Float
from torch import Tensor

_MOST = 4  # parts; more would fight over the interpreter


def side_by_side(work: Callable[[slice], Tensor], n: int, where: torch.device) -> Float[Tensor, "{n} ..."]:
    """What `work` gives for slices of n rows, joined in order; without gradients.

    On a CPU each part has a thread of its own, with its share of torch's threads; elsewhere there is one part.
    """
    threads = torch.get_num_threads()
    parts = min(threads, n, _MOST) if where.type == "cpu" else 1
    if parts < 2:  # noqa: PLR2004 - nothing to do side by side
        return _without_gradients(work, slice(0, n))
    edges = [n * part // parts for part in range(parts + 1)]

    def alone(part: int) -> Tensor:
        torch.set_num_threads(threads // parts)  # for this thread, and for threads that begin later
        return _without_gradients(work, slice(edges[part], edges[part + 1]))

    try:
        with ThreadPoolExecutor(parts) as pool:
            found = list(pool.map(alone, range(parts)))
    finally:
        torch.set_num_threads(threads)
    return torch.cat(found)


@torch.inference_mode()
def _without_gradients(work: Callable[[slice], Tensor], part: slice) -> Tensor:
    return work(part)
