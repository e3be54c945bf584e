"""A prepared data set: one array of items, grouped by class, and what is known of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Class(NamedTuple):
    """A class as it is prepared."""

    name: str
    items: np.ndarray  # (n, *shape)
    files: Sequence[str] = ()  # what the items are called at their source, if they are


Copies = tuple[tuple[tuple[int, str], ...], ...]
"""Groups of items that are equal to the byte, each as its position and its name."""


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
