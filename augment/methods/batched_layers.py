"""Frozen layers with one LoRA update for each class of a batch that is sorted by class.

The frozen layer is computed for the whole batch at once, each class's B A for its own part only. So a class's output
and gradients are those of its adapter alone, whichever others are in the batch, and the frozen layer costs what one
large batch costs. The derivatives are written out: autograd would add the gradients of the two paths in a separate
pass and fill a tensor of the whole batch for each class's part.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

_LAST = torch.channels_last


class BatchedLoraLayer(nn.Module):
    """A frozen layer with A and B of K classes; without any it is the layer as it is."""

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.down: Tensor | None = None
        self.up: Tensor | None = None

    def set_adapters(
        self, down: Float[Tensor, "classes rank ..."] | None, up: Float[Tensor, "classes out rank ..."] | None
    ) -> None:
        """Use these A and B for the batches to come; None: the layer alone."""
        self.down, self.up = down, up

    def forward(self, inputs: Tensor) -> Tensor:
        """The batch's K equal parts, each through the layer and its class's update."""
        if self.down is None or self.up is None:
            out: Tensor = self.layer(inputs)
            return out
        return self.batched(inputs.to(self.layer.weight.dtype), self.down, self.up)

    def batched(self, inputs: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """The same with these A and B."""
        raise NotImplementedError


class BatchedLoraLinear(BatchedLoraLayer):
    """A linear layer."""

    layer: nn.Linear

    def batched(self, inputs: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """Rows of a class: all but the last dimension."""
        return _linear(inputs, self.layer.weight, self.layer.bias, down, up)


class BatchedLoraConv2d(BatchedLoraLayer):
    """A convolution; one of 1 x 1 pixels is a linear layer of each pixel."""

    layer: nn.Conv2d

    def __init__(self, layer: nn.Conv2d) -> None:
        if layer.groups != 1 or set(layer.dilation) != {1} or layer.padding == "same":
            raise ValueError(f"{layer} has groups, a dilation or a padding by name, for which there is no batched LoRA")
        super().__init__(layer)

    def batched(self, inputs: Tensor, down: Tensor, up: Tensor) -> Tensor:
        """A has the layer's kernel, B is 1 x 1."""
        layer = self.layer
        if layer.kernel_size == layer.stride == (1, 1):
            pixels = inputs.permute(0, 2, 3, 1)
            out = _linear(pixels, layer.weight.flatten(1), layer.bias, down.flatten(2), up.flatten(2))
            return out.permute(0, 3, 1, 2)
        geometry = (layer.stride, layer.padding)
        convolved: Tensor = _Convolution.apply(inputs, layer.weight, layer.bias, down, up.flatten(2), geometry)
        return convolved


def batched_lora_layer(layer: nn.Linear | nn.Conv2d) -> BatchedLoraLayer:
    """The layer, to which classes' updates can be added. Raises ValueError for an unsupported convolution."""
    return BatchedLoraConv2d(layer) if isinstance(layer, nn.Conv2d) else BatchedLoraLinear(layer)


def _linear(
    inputs: Float[Tensor, "n ... in"],
    weight: Float[Tensor, "out in"],
    bias: Float[Tensor, " out"] | None,
    down: Float[Tensor, "classes rank in"],
    up: Float[Tensor, "classes out rank"],
) -> Float[Tensor, "n ... out"]:
    rows = inputs.reshape(len(down), -1, inputs.shape[-1])
    out: Tensor = _Linear.apply(rows, weight, bias, down, up)
    return out.view(*inputs.shape[:-1], len(weight))


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
        out = functional.linear(rows, weight, bias)
        return out.baddbmm(hidden, up.mT)  # in place, torch.compile of 2.11 gives gradients of 0 (pytorch#180642)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        (grad,) = grads
        rows, weight, hidden, down, up = ctx.saved_tensors
        grad_hidden = torch.bmm(grad, up)
        grad_rows = (grad @ weight).baddbmm_(grad_hidden, down) if ctx.needs_input_grad[0] else None
        return grad_rows, None, None, torch.bmm(grad_hidden.mT, rows), torch.bmm(hidden.mT, grad).mT


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
        geometry: tuple[tuple[int, int], tuple[int, int]],
    ) -> Tensor:
        stride, padding = geometry
        parts = zip(images.chunk(len(down)), down, strict=True)
        narrow = torch.cat([functional.conv2d(part, kernel, None, stride, padding) for part, kernel in parts])
        hidden = _rows(narrow, len(down))
        out = functional.conv2d(images, weight, bias, stride, padding)
        rows = _rows(out, len(down)).baddbmm(hidden, up.mT)  # not in place either
        out = rows.view(len(images), *out.shape[2:], -1).permute(0, 3, 1, 2)
        ctx.save_for_backward(images, weight, hidden, down, up)
        ctx.stride, ctx.padding = stride, padding
        return out

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        images, weight, hidden, down, up = ctx.saved_tensors
        grad, needs_images = grads[0].contiguous(memory_format=_LAST), bool(ctx.needs_input_grad[0])
        rows = _rows(grad, len(down))
        pixels = torch.bmm(rows, up).view(len(images), *grad.shape[2:], -1).permute(0, 3, 1, 2)

        def conv_backward(grad: Tensor, images: Tensor, weight: Tensor, *, needs_weight: bool) -> list[Tensor | None]:
            """Gradients of the images, if they are needed, and of the weight."""
            options = (None, ctx.stride, ctx.padding, (1, 1), False, (0, 0), 1)
            mask = (needs_images, needs_weight, False)
            return list(torch.ops.aten.convolution_backward(grad, images, weight, *options, mask)[:2])

        grad_images = conv_backward(grad, images, weight, needs_weight=False)[0] if needs_images else None
        grad_down = []
        for part, class_tensors in enumerate(zip(pixels.chunk(len(down)), images.chunk(len(down)), down, strict=True)):
            of_images, of_kernel = conv_backward(*class_tensors, needs_weight=True)
            if grad_images is not None and of_images is not None:
                grad_images.chunk(len(down))[part].add_(of_images)
            grad_down.append(of_kernel)
        grad_up = torch.bmm(hidden.mT, rows).mT
        grad_stacked = torch.stack([each for each in grad_down if each is not None])
        return grad_images, None, None, grad_stacked, grad_up, None


def _rows(images: Float[Tensor, "n c h w"], classes: int) -> Float[Tensor, "{classes} rows c"]:
    """Each class's pixels; a view of images whose channels come last, so that they can be changed in place."""
    return images.permute(0, 2, 3, 1).contiguous().view(classes, -1, images.shape[1])
