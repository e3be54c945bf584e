"""Tasks of one size, gathered as arrays from a split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarun.tasks.objectives import Objective
from metarun.tasks.sampler import TaskSource
from metarun.tasks.task import Examples, Spec, Task

NORMALISATION = "uint8 / 255; other numbers as they are"  # see `Gathered._tensor`


class Arrays(Protocol):
    """A split whose tasks all have the sizes asked for: classes, or a distribution over functions.

    Attributes:
        sha256: identifies it.
        shape: of one item.
        objective: how models are judged.
    """

    sha256: str
    shape: tuple[int, ...]
    objective: Objective

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Any:
        """The random choices behind one task, a tuple of small arrays."""

    def gather(self, picks: Sequence[Any], shots: int) -> tuple[np.ndarray, ...]:
        """Support x and y, query x and y of the picked tasks, each (T, items, …)."""


@dataclass(frozen=True)
class Gathered:
    """The tasks of a split at given sizes, a `TaskSource`.

    Attributes:
        split: where they come from.
        ways: classes in a task; 1 where it is not made of classes.
        shots, queries: items of a class, or of a task without classes.
        device, dtype: where inputs go, and their type.
    """

    split: Arrays
    ways: int
    shots: int
    queries: int
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def sha256(self) -> str:
        return self.split.sha256

    @property
    def sizes(self) -> tuple[int, int, int]:
        return self.ways, self.shots, self.queries

    @cached_property
    def spec(self) -> Spec:
        objective, names = self.split.objective, getattr(self.split, "names", ())
        outputs = self.ways if objective.labels else self.split.outputs
        return Spec(tuple(self.split.shape), outputs, objective, self.shots, len(names))

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Gathered:
        return replace(self, device=device, dtype=dtype)

    def choose(self, rng: np.random.Generator) -> Any:
        return self.split.pick(rng, *self.sizes)

    def build(self, choices: Any, number: int) -> Task:
        return self.build_many([choices], [number])[0]

    def build_many(self, choices: Sequence[Any], numbers: Sequence[int]) -> list[Task]:
        """All tasks by one indexing of the split, faster than one by one."""
        arrays = (self._tensor(a) for a in self.split.gather(choices, self.shots))
        classes: list[Tensor | None] = [None] * len(numbers)
        if hasattr(choices[0], "classes"):
            together = np.stack([pick.classes for pick in choices])
            classes = list(torch.from_numpy(together).to(self.device))
        return [
            Task(self._examples(sx, sy), self._examples(qx, qy), number, some)
            for sx, sy, qx, qy, number, some in zip(*arrays, numbers, classes, strict=True)
        ]

    def _examples(self, x: Tensor, y: Tensor) -> Examples:
        objective = self.split.objective
        return Examples(x, y, objective, self.ways if objective.labels else 0)

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
        if tensor.dtype == torch.uint8:
            return tensor.to(self.dtype).div_(255)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor


def source_of(
    split: Any,
    sizes: Sequence[int],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> TaskSource:
    """The tasks of a split: the split itself where it is a `TaskSource`, which takes no sizes."""
    if hasattr(split, "choose"):
        return split.to(device, dtype)
    return Gathered(split, *sizes, device=device, dtype=dtype)
