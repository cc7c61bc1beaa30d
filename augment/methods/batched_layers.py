"""Frozen layers that bear a low-rank update for each class of a batch that is sorted by class.

The frozen layer sees the whole batch at once, each class's B A only its own part. So a class's output and gradients
are those of its adapter alone, whichever others stand beside it, and the frozen layer costs what one large batch
costs. The derivatives are written out: autograd would add the two paths to a layer's input in a pass of its own and
fill a tensor of the whole batch for each class's part.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_LAST = torch.channels_last


class Stacked(nn.Module):
    """A linear layer or convolution, frozen, with the factors of K classes' updates."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        if isinstance(layer, nn.Conv2d) and (
            layer.groups != 1 or set(layer.dilation) != {1} or layer.padding == "same"
        ):
            raise ValueError(f"{layer} has groups, a dilation or a padding by name, which no update is written for")
        self.layer = layer
        self.down: Tensor | None = None
        self.up: Tensor | None = None

    def bear(
        self, down: Float[Tensor, "classes rank ..."] | None, up: Float[Tensor, "classes out rank ..."] | None
    ) -> None:
        """Take these factors, A and B, for the batches to come; None: the layer as it is."""
        self.down, self.up = down, up

    def forward(self, given: Tensor) -> Tensor:
        """The batch's K equal parts, each through the layer and its own update."""
        layer = self.layer
        if self.down is None or self.up is None:
            said: Tensor = layer(given)
            return said
        given = given.to(layer.weight.dtype)
        if isinstance(layer, nn.Linear):
            return _linear(given, layer.weight, layer.bias, self.down, self.up)
        if layer.kernel_size == layer.stride == (1, 1):
            pixels = given.permute(0, 2, 3, 1)
            down, up = self.down.flatten(2), self.up.flatten(2)
            return _linear(pixels, layer.weight.flatten(1), layer.bias, down, up).permute(0, 3, 1, 2)
        out: Tensor = _Convolution.apply(
            given, layer.weight, layer.bias, self.down, self.up.flatten(2), layer.stride, layer.padding
        )
        return out


def _linear(
    given: Float[Tensor, "n ... in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None,
    down: Float[Tensor, "classes rank in"],
    up: Float[Tensor, "classes out rank"],
) -> Float[Tensor, "n ... out"]:
    rows = given.reshape(len(down), -1, given.shape[-1])
    out: Tensor = _Linear.apply(rows, weight, bias, down, up)
    return out.view(*given.shape[:-1], len(weight))


class _Linear(torch.autograd.Function):
    """x W' + b + (x A') B' for each class's rows, and its derivatives; W and b are frozen."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's own
        rows: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
    ) -> Tensor:
        hidden = torch.bmm(rows, down.mT)
        ctx.save_for_backward(rows, weight, hidden, down, up)
        return functional.linear(rows, weight, bias).baddbmm_(hidden, up.mT)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (grad,) = grads
        rows, weight, hidden, down, up = ctx.saved_tensors
        behind = torch.bmm(grad, up)
        before = (grad @ weight).baddbmm_(behind, down) if ctx.needs_input_grad[0] else None
        return before, None, None, torch.bmm(behind.mT, rows), torch.bmm(hidden.mT, grad).mT


class _Convolution(torch.autograd.Function):
    """The same for a convolution: A is one, with its kernel and few outputs, and B is 1 x 1."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401
        images: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        down: Tensor,
        up: Tensor,
        stride: tuple[int, int],
        padding: tuple[int, int],
    ) -> Tensor:
        parts = zip(images.chunk(len(down)), down, strict=True)
        narrow = torch.cat([functional.conv2d(part, own, None, stride, padding) for part, own in parts])
        hidden = _rows(narrow, len(down))
        out = functional.conv2d(images, weight, bias, stride, padding).contiguous(memory_format=_LAST)
        _rows(out, len(down)).baddbmm_(hidden, up.mT)
        ctx.save_for_backward(images, weight, hidden, down, up)
        ctx.stride, ctx.padding = stride, padding
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        images, weight, hidden, down, up = ctx.saved_tensors
        grad, asked = grads[0].contiguous(memory_format=_LAST), bool(ctx.needs_input_grad[0])
        rows = _rows(grad, len(down))
        behind = torch.bmm(rows, up)
        pixels = behind.view(len(images), *grad.shape[2:], -1).permute(0, 3, 1, 2)

        def back(grad: Tensor, images: Tensor, weight: Tensor, *, own: bool) -> tuple[Tensor | None, Tensor | None]:
            there = (None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1)
            into, onto, _ = torch.ops.aten.convolution_backward(grad, images, weight, *there, (asked, own, False))
            return into, onto

        before, _ = back(grad, images, weight, own=False) if asked else (None, None)
        found = []
        for part, own in enumerate(zip(pixels.chunk(len(down)), images.chunk(len(down)), down, strict=True)):
            into, onto = back(*own, own=True)
            if before is not None and into is not None:
                before.chunk(len(down))[part].add_(into)
            found.append(onto)
        ups = torch.bmm(hidden.mT, rows).mT
        return before, None, None, torch.stack([each for each in found if each is not None]), ups, None, None


def _rows(images: Float[Tensor, "n c h w"], classes: int) -> Float[Tensor, "{classes} rows c"]:
    """Each class's pixels; a view of images whose channels come last, so that they can be changed in place."""
    return images.permute(0, 2, 3, 1).contiguous().view(classes, -1, images.shape[1])
