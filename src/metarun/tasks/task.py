"""Data structures of a task: a support for adaptation and a query for evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from metarun.tasks.objectives import Objective

Inputs = Tensor | Mapping[str, Tensor]
Model = Callable[[Inputs], Tensor]


class Judged(NamedTuple):
    """Loss and scores of a model on a support or query.

    Attributes:
        loss: scalar with its graph.
        scores: scalars without a graph, by name; they include `loss`.
    """

    loss: Tensor
    scores: dict[str, Tensor]


class Evidence(Protocol):
    """Interface of a support or query: examples, or an environment in which a model acts.

    Attributes:
        objective: loss and scores.
        labels: number of labels, each of which occurs in the support; 0 for real-valued targets.
    """

    objective: Objective
    labels: int

    def loss(self, model: Model) -> Tensor:
        """Return the mean loss of the model, a scalar with its graph."""

    def judge(self, model: Model) -> Judged:
        """Return loss and scores of the model from one forward pass."""


@dataclass(frozen=True)
class Examples:
    """Any number of items with their labels or targets.

    Attributes:
        x: (items, *shape), or a mapping of names to such tensors.
        y: (items) labels 0 … labels − 1, or (items, *target) real-valued targets.
        objective, labels: see `Evidence`.
    """

    x: Inputs
    y: Tensor
    objective: Objective
    labels: int = 0

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor | slice) -> Examples:
        """Return the examples at these indices."""
        return replace(self, x=each(lambda x: x[rows], self.x), y=self.y[rows])

    def loss(self, model: Model) -> Tensor:
        return self.objective.loss(model(self.x), self.y)

    def judge(self, model: Model) -> Judged:
        return self.judged(model(self.x))

    def judged(self, outputs: Tensor) -> Judged:
        """Return loss and scores of the outputs (items, …) for these examples."""
        loss = self.objective.loss(outputs, self.y)
        scores = self.objective.scores(outputs.detach(), self.y)
        return Judged(loss, {"loss": loss.detach(), **scores})


@dataclass(frozen=True)
class Task:
    """A support and a query.

    Attributes:
        support, query: disjoint sets of examples, or environments.
        number: number of the task in its stream; it seeds the learner's random numbers.
        classes: (N) index in the split of the class of each label; `None` for data without classes.
    """

    support: Evidence
    query: Evidence
    number: int = 0
    classes: Tensor | None = None


@dataclass(frozen=True)
class Spec:
    """Properties of the tasks from which backbones and learners are built.

    Attributes:
        inputs: shape of one item, or a mapping of names to shapes.
        outputs: outputs of a model per item: the number of ways, or the size of a target.
        objective: loss and scores.
        shots: support items per class, or per task for data without classes; 0 if it varies.
        classes: number of meta-train classes; 0 for data without classes.
        examples: whether supports and queries are `Examples`.
    """

    inputs: tuple[int, ...] | Mapping[str, tuple[int, ...]]
    outputs: int
    objective: Objective
    shots: int = 0
    classes: int = 0
    examples: bool = True


def each(function: Callable[..., Tensor], *inputs: Inputs) -> Inputs:
    """Apply the function to tensors, or to the tensors of each name if inputs are mappings."""
    if isinstance(inputs[0], Mapping):
        return {name: function(*(x[name] for x in inputs)) for name in inputs[0]}
    return function(*inputs)


def joined(*inputs: Inputs) -> Inputs:
    """Concatenate inputs along the first dimension."""
    return each(lambda *x: torch.cat(x), *inputs)
