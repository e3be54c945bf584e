"""A task: a support to adapt to and a query to be judged on."""

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
    """What one forward pass says of a model.

    Attributes:
        loss: a scalar, with its graph.
        scores: scalars without a graph; `loss` is among them.
    """

    loss: Tensor
    scores: dict[str, Tensor]


class Evidence(Protocol):
    """A support or a query: examples, or an environment that a model acts in.

    Attributes:
        objective: how a model is judged here.
        labels: how many labels there are, each with an example in the support; 0 where targets are
            numbers.
    """

    objective: Objective
    labels: int

    def loss(self, model: Model) -> Tensor:
        """The mean loss of the model, a scalar with its graph."""

    def judge(self, model: Model) -> Judged:
        """The loss and the scores of the model, by one forward pass."""


@dataclass(frozen=True)
class Examples:
    """Items and what belongs to them; as many as there are.

    Attributes:
        x: (items, *shape), or such a tensor for each name.
        y: (items) labels 0 … labels − 1, or (items, *target) numbers.
        objective, labels: see `Evidence`.
    """

    x: Inputs
    y: Tensor
    objective: Objective
    labels: int = 0

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor | slice) -> Examples:
        """The examples at these positions."""
        return replace(self, x=each(lambda x: x[rows], self.x), y=self.y[rows])

    def loss(self, model: Model) -> Tensor:
        return self.objective.loss(model(self.x), self.y)

    def judge(self, model: Model) -> Judged:
        return self.judged(model(self.x))

    def judged(self, outputs: Tensor) -> Judged:
        """The loss and the scores of outputs (items, …) for these examples."""
        loss = self.objective.loss(outputs, self.y)
        scores = self.objective.scores(outputs.detach(), self.y)
        return Judged(loss, {"loss": loss.detach(), **scores})


@dataclass(frozen=True)
class Task:
    """What a learner is given at a time.

    Attributes:
        support, query: never share an example.
        number: of the task in its stream; what a learner draws depends on it.
        classes: (N) the class of the split that each label stands for; `None` where tasks are not
            made of classes.
    """

    support: Evidence
    query: Evidence
    number: int = 0
    classes: Tensor | None = None


@dataclass(frozen=True)
class Spec:
    """What backbones and learners are built from.

    Attributes:
        inputs: the shape of one item, or one for each name.
        outputs: numbers that a model gives for each item: the ways, or the size of a target.
        objective: how models are judged.
        shots: support items of a class, or of a task without classes; 0 where they vary.
        classes: meta-train classes in all; 0 where tasks are not made of classes.
        examples: supports and queries are `Examples`.
    """

    inputs: tuple[int, ...] | Mapping[str, tuple[int, ...]]
    outputs: int
    objective: Objective
    shots: int = 0
    classes: int = 0
    examples: bool = True


def each(function: Callable[..., Tensor], *inputs: Inputs) -> Inputs:
    """Apply the function to inputs of one kind, name by name where they have names."""
    if isinstance(inputs[0], Mapping):
        return {name: function(*(x[name] for x in inputs)) for name in inputs[0]}
    return function(*inputs)


def joined(*inputs: Inputs) -> Inputs:
    """Items one after another."""
    return each(lambda *x: torch.cat(x), *inputs)
