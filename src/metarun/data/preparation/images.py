"""Prepared data sets: one array of items grouped by class, with names and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np


class Class(NamedTuple):
    """One prepared class."""

    name: str
    items: np.ndarray  # (n, *shape)
    files: Sequence[str] = ()  # names of the items in the source; default: 0, 1, …


Copies = tuple[tuple[tuple[int, str], ...], ...]
"""Groups of byte-identical items, each item as (position, name)."""


@dataclass(frozen=True)
class Images:
    """A prepared data set, as stored in the cache.

    Attributes:
        items: (M, *shape), grouped by class; may be a read-only memory map. Pictures are uint8,
            (C, H, W); features are floating-point vectors.
        names: class names in the order of the items, e.g. `Greek/character01`.
        counts: number of items of each class; the sum is M.
        digests: sha256 of the items of each class.
        copies: groups of equal items.
        notes: how the items were prepared; plain containers.
    """

    items: np.ndarray
    names: tuple[str, ...]
    counts: tuple[int, ...]
    digests: tuple[str, ...]
    copies: Copies = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, items: np.ndarray, names: Sequence[str], counts: Sequence[int]) -> Images:
        """Group `items` (M, *shape) into classes of `counts` items and compute the digests."""
        if sum(counts) != len(items) or len(names) != len(counts):
            raise ValueError(f"{len(items)} items do not make {len(names)} classes of {counts}")
        ledger = Ledger()
        for name, group in zip(names, np.split(items, np.cumsum(counts)[:-1]), strict=True):
            ledger.add(Class(name, group))
        fields = (ledger.names, ledger.counts, ledger.digests)
        return cls(items, *map(tuple, fields), ledger.copies)


class Ledger:
    """Collects names, counts, digests and equal items of classes that are added one by one."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.counts: list[int] = []
        self.digests: list[str] = []
        self._positions: dict[bytes, list[tuple[int, str]]] = {}  # digest of an item → its copies
        self._total = 0

    def add(self, new: Class) -> np.ndarray:
        """Add the next class; returns its items as a contiguous array."""
        items = np.ascontiguousarray(new.items)
        files = new.files or [str(k) for k in range(len(items))]
        for k, (item, file) in enumerate(zip(items, files, strict=True), start=self._total):
            digest = hashlib.blake2b(item.tobytes(), digest_size=16).digest()
            self._positions.setdefault(digest, []).append((k, f"{new.name}/{file}"))
        self.names.append(new.name)
        self.counts.append(len(items))
        self.digests.append(hashlib.sha256(items.tobytes()).hexdigest())
        self._total += len(items)
        return items

    @property
    def copies(self) -> Copies:
        """Groups of equal items."""
        return tuple(tuple(group) for group in self._positions.values() if len(group) > 1)
