"""Tasks that are functions to minimise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from metarun.tasks.objectives import Objective
from metarun.tasks.task import Judged, Model

Function = Callable[..., Tensor]
DIVERGED = 1e6  # times the value at the start


@dataclass(frozen=True)
class Optimizee:
    """A function f of d numbers, with a starting point; or, with leading dimensions, several.

    It is the support, on which an optimizer evaluates f and its gradient `horizon` times, and the
    query: a model maps the starting point (d) to the points of the path (horizon + 1, d), of which
    the starting point is the first. The loss is the mean of f over the others (Andrychowicz et al.
    2016, equation 3, divided by the number of steps).

    Attributes:
        function: maps points (…, d) and `data` to values (…); leading dimensions are broadcast.
        data: what the function depends on; each tensor has the leading dimensions of `start`.
        start: (d) or (T, d) starting point.
        horizon: number of steps.
        objective: names the score that counts.
    """

    function: Function
    data: tuple[Tensor, ...]
    start: Tensor
    horizon: int
    objective: Objective
    labels: ClassVar[int] = 0

    @staticmethod
    def stack(parts: Sequence[Optimizee]) -> Optimizee:
        """Return T functions of one kind as one, with a leading dimension T."""
        data = tuple(torch.stack(arrays) for arrays in zip(*(p.data for p in parts), strict=True))
        return replace(parts[0], data=data, start=torch.stack([p.start for p in parts]))

    def value_and_gradient(self, x: Tensor, graph: bool = False) -> tuple[Tensor, Tensor]:
        """Return f (…) and its gradient (…, d) at points x (…, d).

        Args:
            graph: keep the dependence of both on x; else they are constants.
        """
        with torch.enable_grad():
            x = x if graph and x.requires_grad else x.detach().requires_grad_()
            value = self.function(x, *self.data)
            (gradient,) = torch.autograd.grad(value.sum(), x, create_graph=graph)
        return (value, gradient) if graph else (value.detach(), gradient)

    def along(self, path: Tensor) -> Tensor:
        """Return f at the points of a path, (…, points, d) → (…, points)."""
        axis = self.start.dim() - 1
        return self.function(path, *(array.unsqueeze(axis) for array in self.data))

    def loss(self, model: Model) -> Tensor:
        return self.along(model(self.start))[1:].mean()

    def judge(self, model: Model) -> Judged:
        """Return the loss; the scores are the loss, f after each step, and 1 for a divergence.

        f diverges if a value is not finite or more than 10⁶ times the first one. It then has no
        other scores: they are nan.
        """
        values = self.along(model(self.start))
        known = values.detach()
        known = torch.where(diverged(known), torch.nan, known)
        scores = {"loss": known[1:].mean(), "final_loss": known[-1], "diverged": known[-1].isnan()}
        scores |= {f"loss_{k}": value for k, value in enumerate(known)}
        return Judged(values[1:].mean(), scores)


def diverged(values: Tensor) -> Tensor:
    """Return whether f diverges on a path, from its values (…, points): a bool (…, 1)."""
    return ~(values <= DIVERGED * values[..., :1].abs()).all(-1, keepdim=True)
