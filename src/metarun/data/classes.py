"""Items grouped by class, and the splits that select some of the classes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class Facts(NamedTuple):
    """What a split holds."""

    classes: int
    smallest: int  # items in its smallest class


@dataclass(frozen=True)
class Images:
    """A prepared data set: what the cache keeps.

    Attributes:
        items: (M, C, H, W) uint8, grouped by class; may be a read-only memory map.
        names: the classes in the order of their items, e.g. `Greek/character01`.
        counts: items of each class; they add up to M.
        digests: sha256 of the items of each class.
    """

    items: np.ndarray
    names: tuple[str, ...]
    counts: tuple[int, ...]
    digests: tuple[str, ...]

    @classmethod
    def of(cls, items: np.ndarray, names: Sequence[str], counts: Sequence[int]) -> Images:
        """Group `items` (M, C, H, W) by class and take the digest of each class."""
        if sum(counts) != len(items) or len(names) != len(counts):
            raise ValueError(f"{len(items)} items do not make {len(names)} classes of {counts}")
        ends = np.cumsum(counts)
        digests = tuple(
            hashlib.sha256(np.ascontiguousarray(items[end - n : end]).tobytes()).hexdigest()
            for end, n in zip(ends, counts, strict=True)
        )
        return cls(items, tuple(names), tuple(map(int, counts)), digests)


@dataclass(frozen=True)
class Split:
    """The classes of one split. Rotated classes share the items of the class they turn.

    Attributes:
        items: (M, C, H, W) uint8, those of the whole data set.
        names: (classes) names, e.g. `Greek/character01` or `Greek/character01/rot090`.
        first, counts: (classes) a class's items are `items[first : first + counts]`.
        turns: (classes) quarter turns, counter-clockwise, applied to each item of the class.
        spin: turn each class of an episode by a random multiple of 90°, the same for its support
            and query items.
        sha256: identifies the classes and their items.
    """

    items: np.ndarray
    names: tuple[str, ...]
    first: np.ndarray
    counts: np.ndarray
    turns: np.ndarray
    spin: bool
    sha256: str

    @property
    def facts(self) -> Facts:
        return Facts(len(self.names), int(self.counts.min()) if len(self.names) else 0)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item, (C, H, W)."""
        return tuple(self.items.shape[1:])


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
    )
