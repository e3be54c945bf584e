"""Helpers for tests of learners: the learners in `conf/algo` and tasks with given items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun import testing
from metarun.algorithms import Learner
from metarun.config.groups import choices
from metarun.tasks.objectives import CLASSIFICATION, Objective
from metarun.tasks.task import Examples, Spec, Task
from metarun.testing import build
from tests.conftest import TINY

__all__ = [
    "OF_RATINGS",
    "OPTIMIZERS",
    "POLICIES",
    "SHIPPED",
    "STATISTICS",
    "WITHOUT_TRAINING",
    "build",
    "fit_in_mini_batches",
    "predict",
    "ragged",
    "relabelled",
    "spec",
    "support_in_order",
    "task_of",
    "tiny",
]

OF_RATINGS = ("item_mean", "melu", "user_mean")  # cannot classify
OPTIMIZERS = ("hand_optimizer", "learned_optimizer", "learned_optimizer_rl")  # take functions only
POLICIES = ("rl2",)  # take trials only
SHIPPED = sorted(choices("algo").keys() - {*OF_RATINGS, *OPTIMIZERS, *POLICIES})
WITHOUT_TRAINING = ("nearest_centroid", "nearest_neighbour")
STATISTICS = [  # each learner with each kind of batch norm that it has
    (name, kind)
    for name in SHIPPED
    for kind in ("transductive", "inductive")
    if kind == "inductive" or name not in WITHOUT_TRAINING
]


def tiny(name: str) -> list[str]:
    """Return the words of a run of seconds with `algo=name`."""
    sizes = [word for word in TINY if name not in WITHOUT_TRAINING or "filters" not in word]
    return [*sizes, f"algo={name}"]


def spec(outputs: int = 3, classes: int = 0, objective: Objective = CLASSIFICATION) -> Spec:
    """Return the spec of tasks with items of 6 numbers."""
    return Spec((6,), outputs, objective, classes=classes)


def task_of(
    support_x: Tensor,
    support_y: Sequence[int] | Tensor,
    query_x: Tensor,
    query_y: Sequence[int] | Tensor,
    classes: Sequence[int] | None = None,
    objective: Objective = CLASSIFICATION,
) -> Task:
    """Return a task with these items and labels (or real-valued targets)."""
    support_y, query_y = torch.as_tensor(support_y), torch.as_tensor(query_y)
    labels = int(support_y.max()) + 1 if objective is CLASSIFICATION else 0
    return Task(
        Examples(support_x, support_y, objective, labels),
        Examples(query_x, query_y, objective, labels),
        classes=None if classes is None else torch.tensor(classes),
    )


def predict(learner: Learner, batch: Sequence[Task]) -> Tensor:
    """Return outputs (T, N·Q, N) in evaluation mode; the learner stays in this mode."""
    return testing.predict(learner.eval(), batch)


def relabelled(batch: Sequence[Task], new: Tensor) -> list[Task]:
    """Return the tasks with each support label y replaced by `new[y]`."""
    return [replace(t, support=replace(t.support, y=new[t.support.y])) for t in batch]


def support_in_order(task: Task, order: Sequence[int]) -> Task:
    return replace(task, support=task.support[torch.tensor(order)])


def ragged(
    shape: tuple[int, ...] = (6,), ways: int = 3, dtype: torch.dtype = torch.float64
) -> list[Task]:
    """Return tasks of different sizes; in the last one, classes have 1, 2 and 3 support items."""
    sizes = enumerate(((1, 3), (4, 2), (3, 4)))
    batch = [
        replace(testing.tasks(1, ways, shots, queries, shape, seed, dtype)[0], number=seed)
        for seed, (shots, queries) in sizes
    ]
    return [*batch[:2], support_in_order(batch[2], [0, 3, 4, 6, 7, 8])]


def fit_in_mini_batches(layer: nn.Module, x: Tensor, key: Tensor, y: Tensor) -> None:
    """Fit a head as Chen et al. 2019 do: three passes over items sorted by `key`, 4 at a time."""
    sgd = {"lr": 0.01, "momentum": 0.9, "dampening": 0.9, "weight_decay": 1e-3}
    optimizer, rng = torch.optim.SGD(layer.parameters(), **sgd), torch.Generator().manual_seed(0)
    x, y = x[key.argsort()], y[key.argsort()]
    for _ in range(3):
        for rows in torch.randperm(len(x), generator=rng).split(4):
            optimizer.zero_grad()
            F.cross_entropy(layer(x[rows]), y[rows]).backward()
            optimizer.step()
