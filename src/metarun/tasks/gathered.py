"""Tasks of a fixed size, gathered as arrays from a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarun.tasks.any_size import AnySize
from metarun.tasks.objectives import Objective
from metarun.tasks.of_split import OfSplit
from metarun.tasks.sampler import TaskSource
from metarun.tasks.task import Examples, Spec, Task
from metarun.tasks.tensors import as_tensor


class Arrays(Protocol):
    """Interface of a split, such as a set of classes, from which tasks of any size can be drawn.

    Attributes:
        sha256: hash that identifies the split.
        shape: shape of one item.
        objective: loss and scores of the tasks.
    """

    sha256: str
    shape: tuple[int, ...]
    objective: Objective

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Any:
        """Draw the random choices of one task: a tuple of small arrays."""

    def gather(self, picks: Sequence[Any], shots: int) -> tuple[np.ndarray, ...]:
        """Return support x and y, query x and y of the tasks in `picks`, each (T, items, …).

        Query x may have several consecutive rows for each of y, see `Examples.clips`.
        """


@dataclass(frozen=True)
class Gathered(OfSplit):
    """A `TaskSource` that draws tasks of a fixed size from a split.

    Attributes:
        split: see `Arrays`.
        ways: classes per task; 1 for data without classes.
        shots, queries: items per class, or per task for data without classes.
    """

    split: Arrays
    ways: int
    shots: int
    queries: int

    @cached_property
    def spec(self) -> Spec:
        objective, names = self.split.objective, getattr(self.split, "names", ())
        outputs = self.ways if objective.labels else self.split.outputs
        return Spec(tuple(self.split.shape), outputs, objective, self.shots, len(names))

    def choose(self, rng: np.random.Generator) -> Any:
        return self.split.pick(rng, *self.sizes)

    def build(self, choices: Any, number: int) -> Task:
        return self.build_many([choices], [number])[0]

    def build_many(self, choices: Sequence[Any], numbers: Sequence[int]) -> list[Task]:
        """Build several tasks with one indexing operation, which is faster than one by one."""
        gathered = self.split.gather(choices, self.shots)
        arrays = (as_tensor(array, self.device, self.dtype) for array in gathered)
        classes: list[Tensor | None] = [None] * len(numbers)
        if hasattr(choices[0], "classes"):
            stacked = np.stack([pick.classes for pick in choices])
            classes = list(torch.from_numpy(stacked).to(self.device))
        return [
            Task(self._examples(sx, sy), self._examples(qx, qy), number, task_classes)
            for sx, sy, qx, qy, number, task_classes in zip(*arrays, numbers, classes, strict=True)
        ]

    def _examples(self, x: Tensor, y: Tensor) -> Examples:
        objective = self.split.objective
        labels = self.ways if objective.labels else 0
        return Examples(x, y, objective, labels, clips=len(x) // len(y))


def source_of(
    split: Any,
    sizes: Sequence[int | str],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TaskSource:
    """Return the task source of a split. A split that is itself a `TaskSource` ignores `sizes`.

    Args:
        sizes: ways, shots and queries; where one is text, see `metarun.tasks.any_size.AnySize`.
    """
    if hasattr(split, "choose"):
        return split.to(device, dtype)
    if any(isinstance(size, str) for size in sizes):
        return AnySize(split, *sizes, device=device, dtype=dtype)
    return Gathered(split, *sizes, device=device, dtype=dtype)
