"""Splits of classes: each selects classes of a prepared data set."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np

from metarun.data.preparation.images import Copies, Images
from metarun.tasks.objectives import CLASSIFICATION

Spin = Literal["class", "task"] | None
SPIN_IN_HASH = {None: False, "class": True, "task": "task"}


@dataclass(frozen=True)
class Facts:
    """Sizes of a split.

    Attributes:
        classes: the number of classes.
        smallest: the number of items in the smallest class.
        counts: the number of items of each class, where it is known.
    """

    classes: int
    smallest: int
    counts: Mapping[str, int] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, counts: Mapping[str, int]) -> Facts:
        """The facts of a split with these numbers of items."""
        return cls(len(counts), min(counts.values(), default=0), counts)

    def smaller(self, needed: int) -> list[str]:
        """Classes with fewer items than `needed`, smallest first, as `name: number of items`."""
        short = {name: count for name, count in self.counts.items() if count < needed}
        return [f"{name}: {short[name]}" for name in sorted(short, key=short.get)]


class Pick(NamedTuple):
    """Indices of the classes and items of one N-way episode.

    The order of `classes` is random and defines the labels 0 … N−1.
    """

    classes: np.ndarray  # (N)
    items: np.ndarray  # (N, K+Q) positions in `Split.items`, support first
    turns: np.ndarray  # (N) quarter turns


@dataclass(frozen=True)
class Split:
    """The classes of one split. Rotated classes share the items of the upright class.

    Attributes:
        items: (M, *shape), all items of the whole data set.
        names: (classes) names, e.g. `Greek/character01` or `Greek/character01/rot090`.
        first, counts: (classes) the items of class c are `items[first[c] : first[c] + counts[c]]`.
        turns: (classes) counter-clockwise quarter turns applied to each item of the class.
        spin: `class` rotates each class of an episode by a random multiple of 90°, equal for
            support and query items; `task` rotates all classes of an episode by the same one.
        sha256: hash of the classes and their items.
        copies: groups of equal items of the whole data set.
        notes: how the items of the whole data set were prepared; plain containers.
    """

    objective = CLASSIFICATION

    items: np.ndarray
    names: tuple[str, ...]
    first: np.ndarray
    counts: np.ndarray
    turns: np.ndarray
    spin: Spin
    sha256: str
    copies: Copies = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> Facts:
        """Number of classes, and of items in each."""
        return Facts.of(dict(zip(self.names, self.counts.tolist(), strict=True)))

    @property
    def origins(self) -> tuple[str, ...]:
        """The name of each class before its rotation; rotated copies have that of one class."""
        ends = (f"/rot{90 * turn:03d}" for turn in self.turns.tolist())
        return tuple(n.removesuffix(end) for n, end in zip(self.names, ends, strict=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item, (C, H, W) for pictures."""
        return tuple(self.items.shape[1:])

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Pick:
        """Draw N classes and K+Q items of each, both without replacement."""
        classes = rng.choice(len(self.names), ways, replace=False)
        items = np.stack(
            [
                self.first[c] + rng.choice(self.counts[c], shots + queries, replace=False)
                for c in classes
            ]
        )
        turns = self.turns[classes]
        if self.spin:
            turns = (turns + rng.integers(4, size=ways if self.spin == "class" else 1)) % 4
        return Pick(classes, items, turns)

    def gather(
        self, picks: Sequence[Pick], shots: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Support x (T, N·K, *shape), y (T, N·K) and query x (T, N·Q, *shape), y (T, N·Q)."""
        x = self.items[np.stack([pick.items for pick in picks])]  # (T, N, K+Q, *shape)
        turns = np.stack([pick.turns for pick in picks])  # (T, N)
        for turn in (1, 2, 3):
            chosen = turns == turn
            if chosen.any():
                x[chosen] = np.rot90(x[chosen], turn, axes=(-2, -1))
        tasks, ways, size = x.shape[:3]
        y = np.tile(np.arange(ways)[None, :, None], (tasks, 1, size))
        halves = (x[:, :, :shots], y[:, :, :shots], x[:, :, shots:], y[:, :, shots:])
        return tuple(a.reshape(tasks, -1, *a.shape[3:]) for a in halves)


def joined(first: Split, second: Split) -> Split:
    """The classes of two splits of the same data set.

    Raises:
        ValueError: they are of two data sets, or their classes are rotated in different ways.
    """
    if first.items is not second.items:
        raise ValueError("the classes are of two data sets")
    ways = [(split.spin, set(split.turns.tolist())) for split in (first, second)]
    if ways[0] != ways[1]:
        raise ValueError("their classes are rotated in different ways")
    arrays = {
        key: np.concatenate([getattr(first, key), getattr(second, key)])
        for key in ("first", "counts", "turns")
    }
    digest = hashlib.sha256(f"{first.sha256} {second.sha256}".encode())
    return replace(first, names=first.names + second.names, sha256=digest.hexdigest(), **arrays)


def select(
    images: Images, names: Iterable[str], turns: Sequence[int] = (0,), spin: Spin = None
) -> Split:
    """Make a split of the classes `names`, with one class per name and turn.

    Args:
        turns: quarter turns, e.g. `(0, 1, 2, 3)` to add rotated copies as separate classes.
        spin: see `Split`.

    Raises:
        KeyError: a class is not in `images`.
    """
    position = {name: i for i, name in enumerate(images.names)}
    starts = np.concatenate([[0], np.cumsum(images.counts)])
    chosen = [(name, position[name], turn) for name in names for turn in turns]
    labels = tuple(n if len(turns) == 1 else f"{n}/rot{90 * t:03d}" for n, _, t in chosen)
    digest = hashlib.sha256(f"spin={SPIN_IN_HASH[spin]}\n".encode())
    for line in sorted(f"{n} {t} {images.digests[c]}\n" for n, c, t in chosen):
        digest.update(line.encode())
    index = np.array([c for _, c, _ in chosen], dtype=np.int64)
    return Split(
        items=images.items,
        names=labels,
        first=starts[index],
        counts=np.array(images.counts, dtype=np.int64)[index],
        turns=np.array([t for _, _, t in chosen], dtype=np.int64),
        spin=spin,
        sha256=digest.hexdigest(),
        copies=images.copies,
        notes=images.notes,
    )
