"""Sampling of tasks. A task is a deterministic function of the stream and its number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from metarun.tasks.augmentation import Augmentation
from metarun.tasks.task import Spec, Task

SPLITS = ("train", "val", "test")


class TaskSource(Protocol):
    """Interface of the sources of tasks. A faster `build_many(choices, numbers)` is optional.

    Attributes:
        sha256: hash that identifies the tasks that can be drawn.
        sizes: ways, shots and queries, or other numbers that the choices of a task depend on.
        spec: properties of the tasks, from which learners are built.
    """

    sha256: str
    sizes: tuple[int, ...]
    spec: Spec

    def choose(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Draw the random choices of one task: a tuple of small arrays."""

    def build(self, choices: tuple[np.ndarray, ...], number: int) -> Task:
        """Build a new task from its choices."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> TaskSource:
        """Return a source of the same tasks with another device and floating-point type."""


class Classes(NamedTuple):
    """The classes of some tasks.

    Attributes:
        names: of the classes that occur in the tasks.
        of_tasks: (tasks, ways) positions in `names`.
    """

    names: list[str]
    of_tasks: np.ndarray


class Sampler:
    """A stream of tasks.

    Args:
        source: source of the tasks.
        key: integers that seed the stream, together with the number of a task.
        augment: augmentation of the inputs. It has a random stream of its own, so that a task
            contains the same items with and without augmentation.
    """

    def __init__(
        self, source: TaskSource, key: tuple[int, ...], augment: Augmentation | None = None
    ) -> None:
        self.source, self.key, self.augment = source, key, augment

    @classmethod
    def training(
        cls, source: TaskSource, seed: int, augment: Augmentation | None = None
    ) -> Sampler:
        """Return the training stream: task i is a function of (seed, i)."""
        return cls(source, (0, seed), augment)

    @classmethod
    def frozen(cls, source: TaskSource, split: str, eval_seed: int) -> Sampler:
        """Return the evaluation stream: task i is a function of (eval_seed, split, i)."""
        return cls(source, (1, eval_seed, SPLITS.index(split)))

    def choose(self, number: int) -> Any:
        """Draw the random choices of task `number`."""
        return self.source.choose(np.random.default_rng((*self.key, number)))

    def tasks(self, numbers: Iterable[int]) -> list[Task]:
        """Return the tasks with these numbers, in this order."""
        numbers = list(numbers)
        choices = [self.choose(i) for i in numbers]
        if hasattr(self.source, "build_many"):
            tasks = self.source.build_many(choices, numbers)
        else:
            tasks = [self.source.build(c, i) for c, i in zip(choices, numbers, strict=True)]
        return tasks if self.augment is None else [self._augmented(task) for task in tasks]

    def sha256(self, episodes: int) -> str:
        """Return a hash of the source and of all choices of the first `episodes` tasks."""
        digest = hashlib.sha256(self.source.sha256.encode())
        digest.update(repr(tuple(self.source.sizes)).encode())
        for i in range(episodes):
            for array in self.choose(i):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def classes(self, episodes: int) -> Classes | None:
        """Return the classes of the first `episodes` tasks; `None` if their choices name none.

        Rotated copies of a class count as that class.
        """
        split = getattr(self.source, "split", None)
        names = getattr(split, "origins", None) or getattr(split, "names", None)
        if not names or not hasattr(self.choose(0), "classes"):
            return None
        picked = np.stack([self.choose(i).classes for i in range(episodes)])
        unique, numbers = np.unique(np.array(names)[picked], return_inverse=True)
        return Classes(unique.tolist(), numbers.reshape(picked.shape))

    def _augmented(self, task: Task) -> Task:
        stream = np.random.SeedSequence((*self.key, task.number), spawn_key=(0,))
        shots = len(task.support)
        draws = self.augment.draw(np.random.default_rng(stream), shots + len(task.query))
        support, query = (
            replace(examples, x=self.augment(examples.x, rows))
            for examples, rows in ((task.support, draws[:shots]), (task.query, draws[shots:]))
        )
        return replace(task, support=support, query=query)
