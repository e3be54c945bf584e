"""Tasks of any number of classes and of items in each, as in Meta-Dataset.

Triantafillou et al. 2020, "Meta-Dataset: A Dataset of Datasets for Learning to Learn from Few
Examples", section 3.2 and appendix A.3; limits of their code, `meta_dataset/data/sampling.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarun.tasks.of_split import OfSplit, Size
from metarun.tasks.task import Examples, Spec, Task
from metarun.tasks.tensors import as_tensor

ANY = "any"
MIN_WAYS, MAX_WAYS = 5, 50
MAX_QUERIES = 10  # of a class
MAX_SUPPORT = 500  # items of a support
MAX_SHARE = 100  # items by which a class enlarges the support
LOG_WEIGHTS = math.log(0.5), math.log(2.0)


@dataclass(frozen=True)
class Choices:
    """The random choices of a task.

    Attributes:
        numbers: (N) classes, in the order of their labels.
        shots: (N) support items of each.
        picks: one pick of the split for each class.
    """

    numbers: np.ndarray
    shots: np.ndarray
    picks: list[Any]

    def __iter__(self) -> Iterator[np.ndarray]:
        yield from (self.numbers, self.shots)
        for pick in self.picks:
            yield from pick


@dataclass(frozen=True)
class AnySize(OfSplit):
    """A `TaskSource` that draws classes of a split, and the sizes of each task.

    Attributes:
        ways: classes per task; `any`: a uniform number from 5 to 50 or to that of all classes, and
            all classes where there are fewer than 5.
        shots: support items per class; `1-10`: a uniform number, the same for all classes of a
            task; `any`: see `support_sizes`.
        queries: query items per class; `any`: 10, or as many as the smallest class of the task
            leaves, which is half of it if shots are `any`.
    """

    @cached_property
    def spec(self) -> Spec:
        names = self.split.names
        ways = min(MAX_WAYS, len(names)) if self.ways == ANY else self.ways
        shots = self.shots if isinstance(self.shots, int) else 0
        return Spec(tuple(self.split.shape), ways, self.split.objective, shots, len(names))

    def choose(self, rng: np.random.Generator) -> Choices:
        split, ways = self.split, self.ways
        if ways == ANY:
            most = min(MAX_WAYS, len(split.names))
            ways = int(rng.integers(min(MIN_WAYS, most), most + 1))
        numbers = rng.choice(len(split.names), ways, replace=False)
        shots, queries = self._items(rng, split.counts[numbers])
        picks = [
            _only(split, c).pick(rng, 1, int(k), queries)
            for c, k in zip(numbers, shots, strict=True)
        ]
        if split.spin == "task":  # one angle for all classes
            picks = [pick._replace(turns=picks[0].turns) for pick in picks]
        return Choices(numbers, shots, picks)

    def build(self, choices: Choices, number: int) -> Task:
        parts = [
            self.split.gather([pick], int(k))
            for pick, k in zip(choices.picks, choices.shots, strict=True)
        ]
        sx, sy, qx, qy = zip(*parts, strict=True)
        classes = torch.from_numpy(choices.numbers).to(self.device)
        return Task(self._examples(sx, sy), self._examples(qx, qy), number, classes)

    def _examples(self, xs: tuple[np.ndarray, ...], ys: tuple[np.ndarray, ...]) -> Examples:
        counts = [y.shape[1] for y in ys]
        labels = np.repeat(np.arange(len(counts)), counts)
        x, y = self._tensor(np.concatenate(xs, 1)[0]), self._tensor(labels)
        return Examples(x, y, self.split.objective, len(counts), clips=len(x) // len(y))

    def _tensor(self, array: np.ndarray) -> Tensor:
        return as_tensor(array, self.device, self.dtype)

    def _items(self, rng: np.random.Generator, counts: np.ndarray) -> tuple[np.ndarray, int]:
        """Support items of each class (N), and query items of each."""
        if self.shots == ANY:
            queries = self.queries
            if queries == ANY:
                queries = int(min(MAX_QUERIES, counts.min() // 2))
            return support_sizes(rng, counts, queries), queries
        low, high = shots_of(self.shots)
        shots = int(rng.integers(low, high + 1)) if low < high else low
        queries = self.queries
        if queries == ANY:
            queries = int(min(MAX_QUERIES, counts.min() - high))
        return np.full(len(counts), shots), queries


def support_sizes(rng: np.random.Generator, counts: np.ndarray, queries: int) -> np.ndarray:
    """The support items of each class, (N): at least 1, and more of larger classes.

    The support has min(500, Σ ⌈β min(100, nᶜ − q)⌉) items at most, with β uniform from 0 to 1. They
    are divided in proportion to nᶜ exp(αᶜ), with αᶜ uniform from log ½ to log 2.

    Args:
        counts: (N) items nᶜ of each class.
        queries: items q of each class that are in the query.
    """
    left = counts - queries
    share = 1.0 - rng.random()  # above 0, up to 1
    total = min(MAX_SUPPORT, int(np.ceil(share * np.minimum(MAX_SHARE, left)).sum()))
    weights = counts * np.exp(rng.uniform(*LOG_WEIGHTS, len(counts)))
    more = np.floor(weights / weights.sum() * (total - len(counts))).astype(np.int64)
    return np.minimum(more + 1, left)


def shots_of(shots: Size) -> tuple[int, int]:
    """The fewest and the most shots of `3`, `1-10` or `any`, whose most is 1 at least."""
    if shots == ANY:
        return 1, 1
    low, _, high = str(shots).partition("-")
    return int(low), int(high or low)


def _only(split: Any, number: int) -> Any:
    """The split with one of its classes."""
    one = slice(number, number + 1)
    keys = ("names", "first", "counts", "turns")
    return replace(split, **{key: getattr(split, key)[one] for key in keys})
