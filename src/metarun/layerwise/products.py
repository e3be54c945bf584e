"""The passes of layers that multiply by weights: linear layers and convolutions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from metarun.errors import Refused
from metarun.layerwise.layers import Gradients, Layer, channels_last

aten = torch.ops.aten
IMAGES = 160  # of a convolution with weights that tasks share; larger batches exceed CPU caches


class Linear(Layer):
    def forward(self, x: Tensor) -> Tensor:
        if x.dim() != 3:
            raise Refused(
                f"engine=layerwise: a linear layer gets {tuple(x.shape[1:])}; flatten the items "
                "before, or use engine=loop"
            )
        self.x = x
        return _affine(x, self.weights)

    def backward(self, g: Tensor, needs_x: bool) -> Gradients:
        self.g = g
        return g @ self.weights[0] if needs_x else None, self._of_weights(g.mT @ self.x, g, False)

    def tangent(self, dx: Tensor | None, dweights: list[Tensor]) -> Tensor:
        self.dx, self.dweights = dx, dweights
        dy = _affine(self.x, dweights)
        return dy if dx is None else dy.add_(_affine(dx, self.weights[:1]))

    def tangent_backward(self, dg: Tensor, needs_x: bool) -> Gradients:
        dgx = (dg @ self.weights[0]).add_(self.g @ self.dweights[0]) if needs_x else None
        dgw = dg.mT @ self.x
        if self.dx is not None:
            dgw.add_(self.g.mT @ self.dx)
        return dgx, self._of_weights(dgw, dg, self.shared)

    def _of_weights(self, weight: Tensor, g: Tensor, summed: bool) -> list[Tensor]:
        gradients = [weight, g.sum(1)][: len(self.weights)]
        return [v.sum(0, keepdim=True) for v in gradients] if summed else gradients


class Conv2d(Layer):
    def __init__(self, module: nn.Conv2d, weights: list[Tensor]) -> None:
        super().__init__(module, [channels_last(weights[0]), *weights[1:]])
        self.sizes = (list(module.stride), list(module.padding), [1, 1], False, [0, 0], 1)

    def forward(self, x: Tensor) -> Tensor:
        self.x = channels_last(x)
        return _each(self._convolved, self.weights, self.x)

    def backward(self, g: Tensor, needs_x: bool) -> Gradients:
        self.g = g = channels_last(g)
        gx = self._of_x(g, self.weights[0]) if needs_x else None
        return gx, self._of_weights(self._of_weight(self.x, g), g)

    def tangent(self, dx: Tensor | None, dweights: list[Tensor]) -> Tensor:
        self.dx, self.dweights = dx, [channels_last(dweights[0]), *dweights[1:]]
        dy = _each(self._convolved, self.dweights, self.x)
        return dy if dx is None else dy.add_(_each(self._convolved, self.weights[:1], dx))

    def tangent_backward(self, dg: Tensor, needs_x: bool) -> Gradients:
        dg, dgx = channels_last(dg), None
        if needs_x:
            dgx = self._of_x(dg, self.weights[0]).add_(self._of_x(self.g, self.dweights[0]))
        dgw = self._of_weight(self.x, dg, self.shared)
        if self.dx is not None:
            dgw = dgw + self._of_weight(self.dx, self.g, self.shared)
        return dgx, self._of_weights(dgw, dg, self.shared)

    def _convolved(self, weights: Sequence[Tensor], x: Tensor) -> Tensor:
        return aten.convolution(x, weights[0], weights[1] if weights[1:] else None, *self.sizes)

    def _of_x(self, g: Tensor, weight: Tensor) -> Tensor:
        """The gradient with respect to x."""

        def gradient(weights: Sequence[Tensor], g: Tensor) -> Tensor:
            like = self.x.flatten(0, 1)[: len(g)]  # only its shape matters
            return self._backward(g, like, weights[0], (True, False, False))[0]

        return _each(gradient, [weight], g)

    def _of_weight(self, x: Tensor, g: Tensor, summed: bool = False) -> Tensor:
        """The gradient with respect to the weight, for each task or summed over the tasks."""

        def gradient(x: Tensor, g: Tensor) -> Tensor:
            return self._backward(g, x, self.weights[0][0], (False, True, False))[1]

        if not summed:
            return _stacked([gradient(*one) for one in zip(x, g, strict=True)])
        parts = (t.flatten(0, 1).split(_tasks(t) * t.shape[1]) for t in (x, g))
        return sum(gradient(*some) for some in zip(*parts, strict=True))[None]

    def _of_weights(self, weight: Tensor, g: Tensor, summed: bool = False) -> list[Tensor]:
        axes = (0, 1, 3, 4) if summed else (1, 3, 4)
        bias = [g.sum(axes)[None] if summed else g.sum(axes)]
        return [weight, *bias][: len(self.weights)]

    def _backward(
        self, g: Tensor, x: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor, ...]:
        return aten.convolution_backward(g, x, weight, [len(weight)], *self.sizes, wanted)


def _affine(x: Tensor, weights: list[Tensor]) -> Tensor:
    y = x @ weights[0].mT
    return y.add_(weights[1][:, None]) if weights[1:] else y


def _each(
    function: Callable[[Sequence[Tensor], Tensor], Tensor], weights: list[Tensor], x: Tensor
) -> Tensor:
    """Apply a function of weights and pictures to each task, or to several that share weights."""
    tasks, items = x.shape[:2]
    together = _tasks(x) if len(weights[0]) == 1 else 1
    outputs = None
    for t in range(0, tasks, together):
        of_task = [w[0 if len(w) == 1 else t] for w in weights]
        part = function(of_task, x[t : t + together].flatten(0, 1)).movedim(1, -1)
        if outputs is None:
            outputs = part.new_empty(tasks, items, *part.shape[1:])
        outputs[t : t + together] = part.unflatten(0, (-1, items))  # while it is in the cache
    return outputs.movedim(-1, 2)


def _stacked(pictures: list[Tensor]) -> Tensor:
    """Stack (B, C, H, W) with the channels last in memory."""
    return torch.stack([p.movedim(1, -1) for p in pictures]).movedim(-1, 2)


def _tasks(x: Tensor) -> int:
    """The number of tasks whose pictures are convolved at once."""
    return max(1, IMAGES // x.shape[1])
