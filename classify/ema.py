"""Exponential moving average of a network's weights; the averaged network is the one that is evaluated and kept."""

import torch
from torch import Tensor, nn

_WARMUP = 10  # the decay after n steps is at most n / (n + 10)


class EMA:
    """An averaged network that follows a trained one: weights and running statistics by decay, counters copied."""

    def __init__(self, averaged: nn.Module, network: nn.Module, decay: float) -> None:
        self.decay = decay
        both = zip(averaged.state_dict().values(), network.state_dict().values(), strict=True)
        pairs = [] if averaged is network else list(both)
        self._floats = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    def update(self, step: int) -> None:
        """Move towards the network as it is after so many steps; all tensors in one call, which a GPU needs."""
        share = 1 - min(self.decay, step / (step + _WARMUP))
        if self._floats:
            torch._foreach_lerp_(*_sides(self._floats), share)
        if self._counters:
            torch._foreach_copy_(*_sides(self._counters))


def _sides(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [averaged for averaged, _ in pairs], [trained for _, trained in pairs]
