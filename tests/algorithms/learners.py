"""The learners that must have every property, all in `conf/algo`, and tasks made by hand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from metarun import testing
from metarun.algorithms import Learner
from metarun.config.groups import choices
from metarun.tasks.objectives import CLASSIFICATION, Objective
from metarun.tasks.task import Examples, Spec, Task
from metarun.testing import build

__all__ = [
    "SHIPPED",
    "STATISTICS",
    "build",
    "predict",
    "ragged",
    "relabelled",
    "spec",
    "support_in_order",
    "task_of",
]

SHIPPED = sorted(choices("algo"))
STATISTICS = ("transductive", "inductive")


def spec(outputs: int = 3, classes: int = 0, objective: Objective = CLASSIFICATION) -> Spec:
    """What the learner of a test is built from, besides its backbone."""
    return Spec((6,), outputs, objective, classes=classes)


def task_of(
    support_x: Tensor,
    support_y: Sequence[int] | Tensor,
    query_x: Tensor,
    query_y: Sequence[int] | Tensor,
    classes: Sequence[int] | None = None,
    objective: Objective = CLASSIFICATION,
) -> Task:
    """A task of these items and labels, which are numbers for an objective without classes."""
    support_y, query_y = torch.as_tensor(support_y), torch.as_tensor(query_y)
    labels = int(support_y.max()) + 1 if objective is CLASSIFICATION else 0
    return Task(
        Examples(support_x, support_y, objective, labels),
        Examples(query_x, query_y, objective, labels),
        classes=None if classes is None else torch.tensor(classes),
    )


def predict(learner: Learner, given: Sequence[Task]) -> Tensor:
    """Outputs (T, N·Q, N) as in evaluation, where the learner is then left."""
    return testing.predict(learner.eval(), given)


def relabelled(given: Sequence[Task], new: Tensor) -> list[Task]:
    """Tasks whose supports have the label `new[y]` for y."""
    return [replace(t, support=replace(t.support, y=new[t.support.y])) for t in given]


def support_in_order(given: Task, order: Sequence[int]) -> Task:
    return replace(given, support=given.support[torch.tensor(order)])


def ragged(
    shape: tuple[int, ...] = (6,), ways: int = 3, dtype: torch.dtype = torch.float64
) -> list[Task]:
    """Tasks of different sizes; in the last the classes have 1, 2 and 3 items of support."""
    sizes = enumerate(((1, 3), (4, 2), (3, 4)))
    given = [
        replace(testing.tasks(1, ways, shots, queries, shape, seed, dtype)[0], number=seed)
        for seed, (shots, queries) in sizes
    ]
    return [*given[:2], support_in_order(given[2], [0, 3, 4, 6, 7, 8])]
