"""The different pictures of all splits, read class by class or by number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from metarun.data.classes import Split


class Position(NamedTuple):
    """The position of a picture in the splits."""

    split: str
    name: str  # of its class
    number: int  # of its class, over all splits
    item: int  # position in its class


class Pictures:
    """The pictures of some splits. Of pictures with equal bytes, the first one counts.

    Attributes:
        positions: the position of each picture; pictures of a class are adjacent.
    """

    def __init__(self, splits: Mapping[str, Split]) -> None:
        self.positions: list[Position] = []
        self._classes: list[np.ndarray] = []  # all items of each class
        seen: set[bytes] = set()
        for split_name, split in splits.items():
            for first, c in zip(*np.unique(split.first, return_index=True), strict=True):
                items = split.items[first : first + split.counts[c]]
                number = len(self._classes)
                self._classes.append(items)
                for k, item in enumerate(items):
                    digest = hashlib.blake2b(item.tobytes(), digest_size=16).digest()
                    if digest not in seen:
                        seen.add(digest)
                        self.positions.append(Position(split_name, split.names[c], number, k))

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def side(self) -> int:
        """The shorter side of the pictures, in pixels."""
        return min(self._classes[0].shape[2:])

    def take(self, numbers: Sequence[int] | np.ndarray) -> np.ndarray:
        """The pictures with these numbers, (M, C, H, W) uint8."""
        chosen = (self.positions[n] for n in numbers)
        return np.stack([self._classes[p.number][p.item] for p in chosen])

    def by_class(self, most: int | None = None) -> Iterator[np.ndarray]:
        """The pictures of each class in their order, or the first `most`: (M, C, H, W) uint8."""
        of_class = np.array([p.number for p in self.positions])
        for numbers in np.split(np.arange(len(self)), np.flatnonzero(np.diff(of_class)) + 1):
            yield self.take(numbers[:most])
