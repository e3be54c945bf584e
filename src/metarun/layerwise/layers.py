"""The passes of layers: values, gradients, and the tangents of both."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

aten = torch.ops.aten

Gradients = tuple[Tensor | None, list[Tensor]]  # with respect to x, if it is needed, and weights


class Layer(ABC):
    """A layer in the passes of one batch. The methods are called in their order, each once.

    A method may overwrite the tensors that it gets. x and y are inputs and outputs, g is the
    gradient with respect to y, dx, dy and dg are tangents: derivatives along a direction.

    Args:
        module: has the sizes of the layer.
        weights: values of its parameters with a leading dimension of tasks, or of size 1 if the
            tasks share them. Tangents of gradients are then summed over the tasks.
    """

    def __init__(self, module: nn.Module, weights: list[Tensor]) -> None:
        self.module, self.weights = module, weights
        self.shared = bool(weights) and len(weights[0]) == 1

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Return y."""

    @abstractmethod
    def backward(self, g: Tensor, needs_x: bool) -> Gradients:
        """Return the gradients, those of weights for each task."""

    @abstractmethod
    def tangent(self, dx: Tensor | None, dweights: list[Tensor]) -> Tensor | None:
        """Return dy; `None` stands for zeros."""

    @abstractmethod
    def tangent_backward(self, dg: Tensor, needs_x: bool) -> Gradients:
        """Return the tangents of the gradients."""


class Linearity(Layer):
    """Base class of layers without weights that are linear in a neighbourhood of x."""

    def backward(self, g: Tensor, needs_x: bool) -> Gradients:
        return self.transposed(g), []

    def tangent(self, dx: Tensor | None, dweights: list[Tensor]) -> Tensor | None:
        return None if dx is None else self.derivative(dx)

    def tangent_backward(self, dg: Tensor, needs_x: bool) -> Gradients:
        return self.transposed(dg), []

    @abstractmethod
    def derivative(self, dx: Tensor) -> Tensor:
        """Apply the derivative at x."""

    @abstractmethod
    def transposed(self, g: Tensor) -> Tensor:
        """Apply the transpose of the derivative at x."""


class ReLU(Linearity):
    def forward(self, x: Tensor) -> Tensor:
        self.y = x.clamp_min_(0)
        return self.y

    def derivative(self, dx: Tensor) -> Tensor:
        return aten.threshold_backward.grad_input(dx, self.y, 0, grad_input=dx)

    transposed = derivative


class MaxPool2d(Linearity):
    def forward(self, x: Tensor) -> Tensor:
        m = self.module
        self.x, self.sizes = x, (m.kernel_size, m.stride, m.padding, m.dilation, m.ceil_mode)
        y, self.indices = nn.functional.max_pool2d_with_indices(x.flatten(0, 1), *self.sizes)
        return y.unflatten(0, x.shape[:2])

    def derivative(self, dx: Tensor) -> Tensor:
        items = dx.flatten(0, 1).flatten(2).gather(2, self.indices.flatten(2))
        return channels_last(items.view(*dx.shape[:3], *self.indices.shape[2:]))

    def transposed(self, g: Tensor) -> Tensor:
        pairs = [[n, n] if isinstance(n, int) else n for n in self.sizes[:4]]
        x, g = self.x.flatten(0, 1), g.flatten(0, 1)
        gx = aten.max_pool2d_with_indices_backward(g, x, *pairs, self.sizes[4], self.indices)
        return gx.unflatten(0, self.x.shape[:2])


class Flatten(Linearity):
    def forward(self, x: Tensor) -> Tensor:
        self.shape = x.shape
        return self.derivative(x)

    def derivative(self, dx: Tensor) -> Tensor:
        return dx.flatten(2)

    def transposed(self, g: Tensor) -> Tensor:
        return channels_last(g.reshape(self.shape))


class MeanOfPositions(Flatten):
    def derivative(self, dx: Tensor) -> Tensor:
        return dx.mean((3, 4))

    def transposed(self, g: Tensor) -> Tensor:
        g = g[..., None, None] / self.shape[3:].numel()
        return channels_last(g.expand(self.shape))


def channels_last(x: Tensor) -> Tensor:
    """(T, B, C, H, W) with the same values and the channels last in memory; others are kept."""
    if x.dim() != 5:
        return x
    x = x.movedim(2, -1).contiguous()
    if x.shape[-1] == 1:  # PyTorch would take other strides for a single channel that is not last
        x = x.as_strided(x.shape, (*x.stride()[:-1], 1))
    return x.movedim(-1, 2)
