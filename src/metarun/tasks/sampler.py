"""Draws tasks by number: a task is a pure function of its number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
import torch

from metarun.tasks.augmentation import Augmentation
from metarun.tasks.task import Spec, Task

SPLITS = ("train", "val", "test")


class TaskSource(Protocol):
    """What the sampler draws from. It may have `build_many(choices, numbers)`, if that is faster.

    Attributes:
        sha256: identifies the tasks that can be drawn.
        sizes: ways, shots and queries, or whatever else a task's choices depend on.
        spec: what a learner is told of the tasks.
    """

    sha256: str
    sizes: tuple[int, ...]
    spec: Spec

    def choose(self, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """The random choices behind one task: small arrays."""

    def build(self, choices: tuple[np.ndarray, ...], number: int) -> Task:
        """The task of these choices, made afresh."""

    def to(self, device: torch.device | str, dtype: torch.dtype) -> TaskSource:
        """The same tasks elsewhere, their inputs and numbers of another type."""


class Sampler:
    """A stream of tasks.

    Args:
        source: where they come from.
        key: what the stream depends on besides the number of a task.
        augment: changes the inputs of a task, by random numbers that depend on what its other
            choices depend on but are drawn apart: with or without, it holds the same items.
    """

    def __init__(
        self, source: TaskSource, key: tuple[int, ...], augment: Augmentation | None = None
    ) -> None:
        self.source, self.key, self.augment = source, key, augment

    @classmethod
    def training(
        cls, source: TaskSource, seed: int, augment: Augmentation | None = None
    ) -> Sampler:
        """Training task i is a function of (seed, i)."""
        return cls(source, (0, seed), augment)

    @classmethod
    def frozen(cls, source: TaskSource, split: str, eval_seed: int) -> Sampler:
        """Evaluation task i is a function of (eval_seed, split, i), whoever the learner is."""
        return cls(source, (1, eval_seed, SPLITS.index(split)))

    def choose(self, number: int) -> Any:
        """The random choices behind task `number`."""
        return self.source.choose(np.random.default_rng((*self.key, number)))

    def tasks(self, numbers: Iterable[int]) -> list[Task]:
        """The tasks of these numbers, in this order."""
        numbers = list(numbers)
        chosen = [self.choose(i) for i in numbers]
        if hasattr(self.source, "build_many"):
            tasks = self.source.build_many(chosen, numbers)
        else:
            tasks = [self.source.build(c, i) for c, i in zip(chosen, numbers, strict=True)]
        return tasks if self.augment is None else [self._augmented(task) for task in tasks]

    def sha256(self, episodes: int) -> str:
        """Identifies the first `episodes` tasks: where they come from and every choice."""
        digest = hashlib.sha256(self.source.sha256.encode())
        digest.update(repr(tuple(self.source.sizes)).encode())
        for i in range(episodes):
            for array in self.choose(i):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _augmented(self, task: Task) -> Task:
        stream = np.random.SeedSequence((*self.key, task.number), spawn_key=(0,))
        shots = len(task.support)
        drawn = self.augment.draw(np.random.default_rng(stream), shots + len(task.query))
        support, query = (
            replace(examples, x=self.augment(examples.x, rows))
            for examples, rows in ((task.support, drawn[:shots]), (task.query, drawn[shots:]))
        )
        return replace(task, support=support, query=query)
