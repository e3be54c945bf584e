"""Base class of learners with an inner loop, whose tasks several engines can compute."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Container, Iterable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import vmap

from metarun.algorithms import Learner
from metarun.algorithms.inner_loop import Weights, adapted
from metarun.tasks.environment import Environment, together
from metarun.tasks.task import Evidence, Examples, Inputs, Judged, Model, Task, each


class GradientLearner(Learner):
    """Base class of learners that adapt weights by gradient steps on the support.

    A subclass defines `fast_weights`, usually by `adapted`, and `model`.

    Attributes:
        engine: computes the inner loop; see `adapted`. With `vmap` and `layerwise`, tasks of equal
            size are computed together.
        inner_steps, test_inner_steps: gradient steps in training and in evaluation.
        first_order: leave out the second derivatives in training.
        later_inner_lr: step size after the first step; `None`: that of the first.
    """

    per_label_head = True
    engines = ("loop", "vmap", "learn2learn")

    inner_steps: int
    test_inner_steps: int
    first_order: bool
    later_inner_lr: float | None = None

    @abstractmethod
    def fast_weights(self, support: Evidence) -> Weights:
        """Return the weights that the inner loop adapts, after its last step."""

    @abstractmethod
    def model(self, weights: Weights, support: Evidence) -> Model:
        """Return the model with these adapted weights."""

    def inner_loop(
        self,
        net: nn.Module,
        support: Evidence,
        lr: float | Iterable[Tensor],
        adapts: Container[str] | None = None,
    ) -> Weights:
        """Return `adapted` for the learner's engine and mode."""
        return adapted(
            net,
            support,
            lr=lr,
            later_lr=self.later_inner_lr,
            engine=self.engine,
            adapts=adapts,
            **self.mode(),
        )

    def mode(self) -> dict[str, Any]:
        """Return the `steps` of the inner loop, and whether it is `first_order`.

        Evaluation always is: nothing is differentiated through its inner steps.
        """
        if not self.training:
            return {"steps": self.test_inner_steps, "first_order": True}
        return {"steps": self.inner_steps, "first_order": self.first_order}

    def adapt(self, support: Evidence) -> Model:
        return self.model(self.fast_weights(support), support)

    def adapt_all(self, supports: Sequence[Evidence]) -> list[Model]:
        if self.engine not in ("vmap", "layerwise") or not stackable(supports):
            return [self.adapt(support) for support in supports]
        batch = self.fast_weights_together(supports)
        return [
            self.model({name: w[t] for name, w in batch.items()}, support)
            for t, support in enumerate(supports)
        ]

    def fast_weights_together(self, supports: Sequence[Evidence]) -> Weights:
        """Return `fast_weights` of `stackable` supports, with a leading dimension of tasks."""
        if isinstance(supports[0], Environment):
            return self.fast_weights(together(supports))

        def one(x: Inputs, y: Tensor) -> Weights:
            return self.fast_weights(replace(supports[0], x=x, y=y))

        return vmap(one)(*stacked(supports))

    def outer_losses(self, tasks: Sequence[Task]) -> Iterable[Judged]:
        supports, queries = [task.support for task in tasks], [task.query for task in tasks]
        if self.engine != "vmap" or not (stackable(supports) and stackable(queries)):
            return super().outer_losses(tasks)
        if isinstance(supports[0], Environment):
            return together(queries).judge_all(self.adapt(together(supports)))

        def judged(sx: Inputs, sy: Tensor, qx: Inputs, qy: Tensor) -> Judged:
            support, query = replace(supports[0], x=sx, y=sy), replace(queries[0], x=qx, y=qy)
            return self.outer_loss(Task(support, query))

        losses, scores = vmap(judged)(*stacked(supports), *stacked(queries))
        return [
            Judged(losses[t], {name: values[t] for name, values in scores.items()})
            for t in range(len(tasks))
        ]


def stackable(batch: Sequence[Evidence]) -> bool:
    """Whether these are several sets of examples of equal size, or several environments.

    The functions for several tasks are slow for a single one.
    """
    if len(batch) > 1 and all(isinstance(examples, Examples) for examples in batch):
        return len({len(examples) for examples in batch}) == 1
    return len(batch) > 1 and all(isinstance(item, Environment) for item in batch)


def stacked(batch: Sequence[Examples]) -> tuple[Inputs, Tensor]:
    """Return x and y of examples of equal size with a leading dimension of tasks."""
    x = each(lambda *tensors: torch.stack(tensors), *(examples.x for examples in batch))
    return x, torch.stack([examples.y for examples in batch])
