"""Update rules of hand-made optimizers, for many functions side by side.

A rule is called with the gradients (T, d) of T functions at one point after another, and returns
the next steps (T, d). Each is the rule of `torch.optim`, which takes one function.
"""

from __future__ import annotations

import torch
from torch import Tensor

CHANGE, GRADIENT, CURVATURE = 1e-9, 1e-7, 1e-10  # tolerances of torch.optim.LBFGS
HISTORY = 100  # pairs that torch.optim.LBFGS keeps


class SGD:
    """Gradient descent, with the momentum of Polyak (1964).

    Args:
        start: (T, d) starting points.
        rate: the step size.
        momentum: factor of the previous step.
    """

    def __init__(self, start: Tensor, rate: float, momentum: float = 0.0) -> None:
        self.rate, self.momentum, self.velocity = rate, momentum, torch.zeros_like(start)

    def __call__(self, gradient: Tensor) -> Tensor:
        self.velocity = self.momentum * self.velocity + gradient
        return -self.rate * self.velocity


class Momentum(SGD):
    """`SGD` with a momentum of 0.9."""

    def __init__(self, start: Tensor, rate: float) -> None:
        super().__init__(start, rate, 0.9)


class Adam:
    """Adam (Kingma & Ba 2015). Arguments as for `SGD`."""

    def __init__(self, start: Tensor, rate: float) -> None:
        self.rate, self.steps = rate, 0
        self.mean = self.square = torch.zeros_like(start)

    def __call__(self, gradient: Tensor) -> Tensor:
        self.steps += 1
        self.mean = 0.9 * self.mean + 0.1 * gradient
        self.square = 0.999 * self.square + 0.001 * gradient.square()
        scale = (self.square / (1 - 0.999**self.steps)).sqrt() + 1e-8
        return -self.rate * self.mean / (1 - 0.9**self.steps) / scale


class LBFGS:
    """L-BFGS without a line search (Nocedal & Wright 2006, algorithm 7.4). Arguments as for `SGD`.

    A function whose gradient or expected decrease is almost 0 has steps of 0 from then on.
    """

    def __init__(self, start: Tensor, rate: float) -> None:
        self.rate = rate
        self.gradient: Tensor | None = None
        self.step = torch.zeros_like(start)
        self.pairs: list[tuple[Tensor, Tensor, Tensor]] = []  # s and y, (T, d), and 1 / s·y, (T, 1)
        self.scale = torch.ones_like(start[:, :1])

    def __call__(self, gradient: Tensor) -> Tensor:
        if self.gradient is None:
            rate = self.rate * (1 / gradient.abs().sum(1, keepdim=True)).clamp_max(1)
            direction = -gradient
        else:
            rate = self.rate
            self._remember(self.step, gradient - self.gradient)
            direction = self._direction(gradient)
        self.gradient = gradient
        slope = (gradient * direction).sum(1, keepdim=True)
        ends = (gradient.abs().amax(1, keepdim=True) <= GRADIENT) | (slope > -CHANGE)
        self.step = torch.where(ends, 0.0, rate * direction)
        return self.step

    def _remember(self, s: Tensor, y: Tensor) -> None:
        """Add a pair; where its curvature is not positive, it has the weight 0."""
        product = (s * y).sum(1, keepdim=True)
        valid = product > CURVATURE
        inverse = torch.where(valid, 1 / product, 0.0)
        scale = product / y.square().sum(1, keepdim=True)
        self.scale = torch.where(valid, scale, self.scale)
        self.pairs = [*self.pairs[1 - HISTORY :], (s, y, inverse)]

    def _direction(self, gradient: Tensor) -> Tensor:
        """Return −H·gradient by the two-loop recursion."""
        q, factors = -gradient, []
        for s, y, inverse in reversed(self.pairs):
            factor = inverse * (s * q).sum(1, keepdim=True)
            factors.append(factor)
            q = q - factor * y
        q = q * self.scale
        for (s, y, inverse), factor in zip(self.pairs, reversed(factors), strict=True):
            q = q + s * (factor - inverse * (y * q).sum(1, keepdim=True))
        return q


RULES = {"sgd": SGD, "momentum": Momentum, "adam": Adam, "l_bfgs": LBFGS}
