"""LoHa and LoKr of one layer: which factors, of which shapes, how they start, and the update that they make.

Names, shapes and products are LyCORIS' (Yeh et al. 2024), as peft has them: a convolution is a matrix whose rows are
its output channels, and alpha = rank. LoHa multiplies two low-rank matrices element by element (Hyeon-Woo et al. 2022,
FedPara); LoKr is the Kronecker product of a small matrix and another, which is of low rank where that is smaller.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from peft.tuners.lokr.layer import factorization
from torch import Tensor, nn

Shape = tuple[int, ...]
Factors = Mapping[str, Tensor]  # of one layer, by names such as hada_w1_a


@dataclass(frozen=True)
class Algorithm:
    """How a layer's update is made of factors."""

    shapes: Callable[[Shape, int], dict[str, Shape]]  # of the factors, from the weight's shape and the rank
    delta: Callable[[Factors], Tensor]  # the update as a matrix, or in the weight's shape; before alpha / rank
    zero: str  # the factor that is 0 as training starts, so that it starts from the base


def _loha_shapes(weight: Shape, rank: int) -> dict[str, Shape]:
    out, into = weight[0], math.prod(weight[1:])
    return {
        f"hada_{which}_{side}": (out, rank) if side == "a" else (rank, into) for which in ("w1", "w2") for side in "ab"
    }


def _loha_delta(factors: Factors) -> Tensor:
    return (factors["hada_w1_a"] @ factors["hada_w1_b"]) * (factors["hada_w2_a"] @ factors["hada_w2_b"])


def _lokr_shapes(weight: Shape, rank: int) -> dict[str, Shape]:
    (out_left, out_right), (in_left, in_right) = factorization(weight[0]), factorization(weight[1])
    shapes: dict[str, Shape] = {"lokr_w1": (out_left, in_left)}
    if 2 * rank >= max(out_right, in_right):
        return shapes | {"lokr_w2": (out_right, in_right, *weight[2:])}
    return shapes | {"lokr_w2_a": (out_right, rank), "lokr_w2_b": (rank, in_right * math.prod(weight[2:]))}


def _lokr_delta(factors: Factors) -> Tensor:
    left = factors["lokr_w1"]
    right = factors["lokr_w2"] if "lokr_w2" in factors else factors["lokr_w2_a"] @ factors["lokr_w2_b"]
    return torch.kron(left.view(*left.shape, *(1 for _ in right.shape[2:])), right.contiguous())


LOHA = Algorithm(_loha_shapes, _loha_delta, zero="hada_w2_b")
LOKR = Algorithm(_lokr_shapes, _lokr_delta, zero="lokr_w1")


def init_factor(factor: str, shape: Shape, algorithm: Algorithm, generator: torch.Generator) -> Tensor:
    """A factor as peft draws it, but on the CPU from a generator, so that it is the same on every device."""
    drawn = torch.zeros(shape)
    if factor != algorithm.zero:
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
    return drawn
