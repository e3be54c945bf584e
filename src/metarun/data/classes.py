"""Items grouped by class, and the splits that select some of the classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from metarun.tasks.objectives import CLASSIFICATION


class Facts(NamedTuple):
    """What a split holds."""

    classes: int
    smallest: int  # items in its smallest class


class Class(NamedTuple):
    """A class as it is prepared."""

    name: str
    items: np.ndarray  # (n, *shape)
    files: Sequence[str] = ()  # what the items are called at their source, if they are


Copies = tuple[tuple[tuple[int, str], ...], ...]
"""Groups of items that are equal to the byte, each as its position and its name."""


class Pick(NamedTuple):
    """What one episode of N ways is made of, before any item is touched.

    The order of `classes` is random and gives the labels 0 … N−1.
    """

    classes: np.ndarray  # (N)
    items: np.ndarray  # (N, K+Q) positions in `Split.items`, support first
    turns: np.ndarray  # (N) quarter turns


@dataclass(frozen=True)
class Images:
    """A prepared data set: what the cache keeps.

    Attributes:
        items: (M, *shape), grouped by class; may be a read-only memory map. Pictures are uint8,
            (C, H, W); features are floating-point vectors.
        names: the classes in the order of their items, e.g. `Greek/character01`.
        counts: items of each class; they add up to M.
        digests: sha256 of the items of each class.
        copies: items that are equal.
        notes: how the items came about; plain containers.
    """

    items: np.ndarray
    names: tuple[str, ...]
    counts: tuple[int, ...]
    digests: tuple[str, ...]
    copies: Copies = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, items: np.ndarray, names: Sequence[str], counts: Sequence[int]) -> Images:
        """Group `items` (M, *shape) by class and take the digest of each class."""
        if sum(counts) != len(items) or len(names) != len(counts):
            raise ValueError(f"{len(items)} items do not make {len(names)} classes of {counts}")
        ledger = Ledger()
        for name, some in zip(names, np.split(items, np.cumsum(counts)[:-1]), strict=True):
            ledger.enter(Class(name, some))
        return ledger.close(items)


class Ledger:
    """Takes note of classes one by one: names, counts, digests, equal items."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self.digests: list[str] = []
        self._found: dict[bytes, list[tuple[int, str]]] = {}  # digest of an item → where it is
        self._total = 0

    def enter(self, some: Class) -> np.ndarray:
        """Take note of the next class; returns its items in one block of memory."""
        items = np.ascontiguousarray(some.items)
        files = some.files or [str(k) for k in range(len(items))]
        for k, (item, file) in enumerate(zip(items, files, strict=True), start=self._total):
            digest = hashlib.blake2b(item.tobytes(), digest_size=16).digest()
            self._found.setdefault(digest, []).append((k, f"{some.name}/{file}"))
        self.names.append(some.name)
        self.counts.append(len(items))
        self.digests.append(hashlib.sha256(items.tobytes()).hexdigest())
        self._total += len(items)
        return items

    @property
    def copies(self) -> Copies:
        return tuple(tuple(places) for places in self._found.values() if len(places) > 1)

    def close(self, items: np.ndarray) -> Images:
        """The data set of all noted classes, whose items are `items`."""
        notes = (self.names, self.counts, self.digests)
        return Images(items, *map(tuple, notes), self.copies)


@dataclass(frozen=True)
class Split:
    """The classes of one split. Rotated classes share the items of the class they turn.

    Attributes:
        items: (M, *shape), those of the whole data set.
        names: (classes) names, e.g. `Greek/character01` or `Greek/character01/rot090`.
        first, counts: (classes) a class's items are `items[first : first + counts]`.
        turns: (classes) quarter turns, counter-clockwise, applied to each item of the class.
        spin: turn each class of an episode by a random multiple of 90°, the same for its support
            and query items.
        sha256: identifies the classes and their items.
        copies: items of the whole data set that are equal.
        notes: how the items of the whole data set came about; plain containers.
    """

    objective = CLASSIFICATION

    items: np.ndarray
    names: tuple[str, ...]
    first: np.ndarray
    counts: np.ndarray
    turns: np.ndarray
    spin: bool
    sha256: str
    copies: Copies = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def facts(self) -> Facts:
        return Facts(len(self.names), int(self.counts.min()) if len(self.names) else 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item, (C, H, W) for pictures."""
        return tuple(self.items.shape[1:])

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Pick:
        """Draw N classes without repetition and K+Q items of each, without repetition."""
        classes = rng.choice(len(self.names), ways, replace=False)
        items = np.stack(
            [
                self.first[c] + rng.choice(self.counts[c], shots + queries, replace=False)
                for c in classes
            ]
        )
        turns = self.turns[classes]
        if self.spin:
            turns = (turns + rng.integers(4, size=ways)) % 4
        return Pick(classes, items, turns)

    def gather(
        self, picks: Sequence[Pick], shots: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Support x (T, N·K, *shape) and y (T, N·K), query x (T, N·Q, *shape) and y (T, N·Q)."""
        x = self.items[np.stack([pick.items for pick in picks])]  # (T, N, K+Q, *shape)
        turns = np.stack([pick.turns for pick in picks])  # (T, N)
        for turn in (1, 2, 3):
            chosen = turns == turn
            if chosen.any():
                x[chosen] = np.rot90(x[chosen], turn, axes=(-2, -1))
        tasks, ways, each = x.shape[:3]
        y = np.tile(np.arange(ways)[None, :, None], (tasks, 1, each))
        halves = (x[:, :, :shots], y[:, :, :shots], x[:, :, shots:], y[:, :, shots:])
        return tuple(a.reshape(tasks, -1, *a.shape[3:]) for a in halves)


def select(
    images: Images, names: Iterable[str], turns: Sequence[int] = (0,), spin: bool = False
) -> Split:
    """The split that holds the classes `names`, each once for every one of `turns`.

    Args:
        turns: quarter turns, e.g. `(0, 1, 2, 3)` for rotated copies as classes of their own.

    Raises:
        KeyError: a class is not in `images`.
    """
    position = {name: i for i, name in enumerate(images.names)}
    starts = np.concatenate([[0], np.cumsum(images.counts)])
    chosen = [(name, position[name], turn) for name in names for turn in turns]
    labels = tuple(n if len(turns) == 1 else f"{n}/rot{90 * t:03d}" for n, _, t in chosen)
    digest = hashlib.sha256(f"spin={spin}\n".encode())
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
