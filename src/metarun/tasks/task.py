"""Data structures of a task: a support for adaptation and a query for evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from metarun.tasks.objectives import Objective

Inputs = Tensor | Mapping[str, Tensor]
Kind = Literal["examples", "environments", "trials", "functions"]  # of tasks, see `Spec`
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
        x: (items · clips, *shape), or a mapping of names to such tensors.
        y: (items) labels 0 … labels − 1, or (items, *target) real-valued targets.
        objective, labels: see `Evidence`.
        clips: number of consecutive rows of x that belong to one item, such as clips of a
            recording; their probabilities are averaged before the item is judged.
    """

    x: Inputs
    y: Tensor
    objective: Objective
    labels: int = 0
    clips: int = 1

    def __len__(self) -> int:
        return len(self.y)

    def __getitem__(self, rows: Tensor | slice) -> Examples:
        """Return the examples at these indices."""

        def chosen(x: Tensor) -> Tensor:
            return x.unflatten(0, (len(self), self.clips))[rows].flatten(0, 1)

        x = each(chosen if self.clips > 1 else lambda x: x[rows], self.x)
        return replace(self, x=x, y=self.y[rows])

    def loss(self, model: Model) -> Tensor:
        return self.objective.loss(self.per_item(model(self.x)), self.y)

    def judge(self, model: Model) -> Judged:
        return self.judged(model(self.x))

    def judged(self, outputs: Tensor) -> Judged:
        """Return loss and scores of the outputs (items · clips, …) for these examples."""
        outputs = self.per_item(outputs)
        loss = self.objective.loss(outputs, self.y)
        scores = self.objective.scores(outputs.detach(), self.y)
        return Judged(loss, {"loss": loss.detach(), **scores})

    def per_item(self, outputs: Tensor) -> Tensor:
        """Return the outputs of each item: the logarithm of its clips' mean probabilities."""
        if self.clips == 1:
            return outputs
        clips = outputs.log_softmax(-1).unflatten(0, (-1, self.clips))
        return clips.logsumexp(1) - math.log(self.clips)


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
        shots: support items per class, or per task for data without classes; 0 if it varies. Of a
            function: the number of its evaluations.
        classes: number of meta-train classes; 0 for data without classes.
        kind: what supports and queries are: `examples`; `environments`, in which a policy acts;
            `trials`, environments without a support (`metarun.tasks.environment`); or `functions`
            to minimise (`metarun.tasks.optimizee`).
    """

    inputs: tuple[int, ...] | Mapping[str, tuple[int, ...]]
    outputs: int
    objective: Objective
    shots: int = 0
    classes: int = 0
    kind: Kind = "examples"

    @property
    def examples(self) -> bool:
        """Whether supports and queries are `Examples`."""
        return self.kind == "examples"


def each(function: Callable[..., Tensor], *inputs: Inputs) -> Inputs:
    """Apply the function to tensors, or to the tensors of each name if inputs are mappings."""
    if isinstance(inputs[0], Mapping):
        return {name: function(*(x[name] for x in inputs)) for name in inputs[0]}
    return function(*inputs)


def joined(*inputs: Inputs) -> Inputs:
    """Concatenate inputs along the first dimension."""
    return each(lambda *x: torch.cat(x), *inputs)
