"""Episodes and the sampler that draws them: an episode is a pure function of its number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarun.tasks.augmentation import Augmentation

SPLITS = ("train", "val", "test")
NORMALISATION = "uint8 / 255; other numbers as they are"  # of every split, see Sampler._tensor


@dataclass(frozen=True)
class Episodes:
    """A batch of T tasks with N ways, K shots and Q queries a class.

    Attributes:
        support_x: (T, N·K, *shape), between 0 and 1 for images.
        support_y: (T, N·K) labels 0 … N−1, grouped by label.
        query_x: (T, N·Q, *shape).
        query_y: (T, N·Q).
        classes: (T, N) which class of the split each label stands for, or `None` where tasks are
            not made of classes. For learners that train on all classes at once; others ignore it.
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor
    classes: Tensor | None = None

    def __len__(self) -> int:
        return len(self.support_x)

    @property
    def ways(self) -> int:
        return int(self.support_y[0].max()) + 1

    @property
    def shots(self) -> int:
        return self.support_y.shape[1] // self.ways


class Tasks(Protocol):
    """What the sampler draws from: the classes of a split, or a distribution over functions."""

    sha256: str

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Any:
        """The random choices behind one episode, a tuple of small arrays."""

    def gather(self, picks: Sequence[Any], shots: int) -> tuple[np.ndarray, ...]:
        """Support x and y, query x and y of the picked episodes, each (T, items, …)."""


class Sampler:
    """Draws episodes by number.

    Args:
        tasks: the split to draw from.
        key: what the stream of episodes depends on besides their number.
        device, dtype: where episodes go, and the type of their x.
        augment: changes the x of an episode, by random numbers that depend on what its other
            choices depend on but are drawn apart: with or without, it holds the same items.
    """

    def __init__(
        self,
        tasks: Tasks,
        ways: int,
        shots: int,
        queries: int,
        key: tuple[int, ...],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        augment: Augmentation | None = None,
    ) -> None:
        self.tasks, self.key, self.augment = tasks, key, augment
        self.ways, self.shots, self.queries = ways, shots, queries
        self.device, self.dtype = torch.device(device), dtype

    @classmethod
    def training(cls, tasks: Tasks, *args: Any, seed: int, **kwargs: Any) -> Sampler:
        """Training episode i is a function of (seed, i)."""
        return cls(tasks, *args, key=(0, seed), **kwargs)

    @classmethod
    def frozen(cls, tasks: Tasks, *args: Any, split: str, eval_seed: int, **kwargs: Any) -> Sampler:
        """Evaluation episode i is a function of (eval_seed, split, i), whoever the learner is."""
        if "augment" in kwargs:
            raise TypeError("evaluation episodes are as the data has them")
        return cls(tasks, *args, key=(1, eval_seed, SPLITS.index(split)), **kwargs)

    def pick(self, number: int) -> Any:
        """The random choices behind episode `number`."""
        rng = np.random.default_rng((*self.key, number))
        return self.tasks.pick(rng, self.ways, self.shots, self.queries)

    def batch(self, numbers: Iterable[int]) -> Episodes:
        """The episodes with these numbers, as one batch."""
        numbers = list(numbers)
        picks = [self.pick(i) for i in numbers]
        arrays = self.tasks.gather(picks, self.shots)
        known = [pick.classes for pick in picks if hasattr(pick, "classes")]
        classes = self._tensor(np.stack(known)) if known else None
        support_x, support_y, query_x, query_y = (self._tensor(a) for a in arrays)
        if self.augment is not None:
            support_x, query_x = self._augmented(self.augment, numbers, support_x, query_x)
        return Episodes(support_x, support_y, query_x, query_y, classes)

    def sha256(self, episodes: int) -> str:
        """Identifies the first `episodes` episodes: the tasks they come from and every choice."""
        digest = hashlib.sha256(self.tasks.sha256.encode())
        digest.update(repr((self.ways, self.shots, self.queries)).encode())
        for i in range(episodes):
            for array in self.pick(i):
                digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _augmented(
        self, augment: Augmentation, numbers: Sequence[int], support_x: Tensor, query_x: Tensor
    ) -> tuple[Tensor, ...]:
        shots = support_x.shape[1]  # items in the support of a task
        streams = (np.random.SeedSequence((*self.key, i), spawn_key=(0,)) for i in numbers)
        each = shots + query_x.shape[1]
        drawn = np.stack([augment.draw(np.random.default_rng(s), each) for s in streams])
        return tuple(
            augment(x.flatten(0, 1), part.reshape(-1, *part.shape[2:])).view_as(x)
            for x, part in ((support_x, drawn[:, :shots]), (query_x, drawn[:, shots:]))
        )

    def _tensor(self, array: np.ndarray) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array)).to(self.device)
        if tensor.dtype == torch.uint8:
            return tensor.to(self.dtype).div_(255)
        return tensor.to(self.dtype) if tensor.is_floating_point() else tensor
