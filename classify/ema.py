"""The running average of a network's weights, which is what is judged."""

import torch
from torch import Tensor, nn

_WARMUP = 10  # steps until the average forgets the start half as fast as it ever will


class EMA:
    """One network that follows another: weights and the normalisation's statistics slowly, counters at once."""

    def __init__(self, judged: nn.Module, network: nn.Module, decay: float) -> None:
        self.decay = decay
        both = zip(judged.state_dict().values(), network.state_dict().values(), strict=True)
        pairs = [] if judged is network else list(both)
        self._slow = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    def follow(self, step: int) -> None:
        """Move towards the network as it is after so many steps; all tensors in one call, which a GPU needs."""
        share = 1 - min(self.decay, step / (step + _WARMUP))
        if self._slow:
            torch._foreach_lerp_(*_sides(self._slow), share)
        if self._counters:
            torch._foreach_copy_(*_sides(self._counters))


def _sides(pairs: list[tuple[Tensor, Tensor]]) -> tuple[list[Tensor], list[Tensor]]:
    return [judged for judged, _ in pairs], [trained for _, trained in pairs]
