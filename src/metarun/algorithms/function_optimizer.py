"""Base class of learners that minimise functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.tasks.optimizee import Optimizee
from metarun.tasks.task import Judged, Model, Task

Step = Callable[[Tensor, Tensor], Tensor]


class FunctionOptimizer(Learner):
    """A learner that adapts to a function by minimising it, in `horizon` steps from its start.

    A subclass defines `begin`. Functions are minimised side by side: a step of one small function
    takes nearly as long as that of a hundred.

    Attributes:
        unroll: number of steps after which gradients of training are cut; 0: they never are.
        second_order: gradients of training flow through the gradients of the functions.
    """

    needs_labels = False
    takes = ("functions",)
    tasks_at_once = 128
    unroll = 0
    second_order = False

    def begin(self, functions: Optimizee) -> Step:
        """Return a function that maps values (T) and gradients (T, d) of T stacked functions, at
        one point of the path after another, to the next steps (T, d)."""
        raise NotImplementedError(f"{type(self).__name__}.begin")

    def path(self, functions: Optimizee, step: Step | None = None) -> Tensor:
        """Return the points (T, horizon + 1, d) of the path on T stacked functions.

        Args:
            step: takes the steps; by default `begin(functions)`.
        """
        step, x = step or self.begin(functions), functions.start
        points, graph = [x], self.training and self.second_order
        for t in range(functions.horizon):
            if self.unroll and t % self.unroll == 0:
                x = x.detach()
            x = x + step(*functions.value_and_gradient(x, graph))
            points.append(x)
        return torch.stack(points, -2)

    def adapt(self, support: Optimizee) -> Model:
        return self.adapt_all([support])[0]

    def adapt_all(self, supports: Sequence[Optimizee]) -> list[Model]:
        paths = self.path(Optimizee.stack(supports))
        return [lambda start, points=points: points for points in paths]

    def outer_losses(self, tasks: Sequence[Task]) -> Iterable[Judged]:
        functions = Optimizee.stack([task.query for task in tasks])
        values = functions.along(self.path(functions))
        for loss, final in zip(values[:, 1:].mean(1), values[:, -1].detach(), strict=True):
            yield Judged(loss, {"loss": loss.detach(), "final_loss": final})
