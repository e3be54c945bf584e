"""The labelled items: one array with their classes, checked for copies."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from metarun.data.duplicates import named
from metarun.data.preparation.class_folders import printable
from metarun.data.preparation.pixels import Broken
from metarun.errors import Refused

SHOWN = 10  # lines of mistakes

Read = Callable[[Sequence[str]], Sequence["np.ndarray | Broken"]]

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Support:
    """Labelled items, different ones only.

    Attributes:
        names: (N) the classes.
        items: (n, *shape) prepared items, grouped by class.
        labels: (n) numbers of their classes.
        sources: (n) their paths, or the sentences.
        place: digest of each item → its position.
    """

    names: tuple[str, ...]
    items: np.ndarray
    labels: np.ndarray
    sources: tuple[str, ...]
    place: Mapping[bytes, int]

    @property
    def counts(self) -> list[int]:
        """Items of each class."""
        return np.bincount(self.labels, minlength=len(self.names)).tolist()

    @property
    def sha256(self) -> str:
        """Hash of the classes and their items, in any order."""
        lines = sorted(
            f"{self.names[self.labels[i]]} {item.hex()}\n" for item, i in self.place.items()
        )
        return hashlib.sha256("".join(lines).encode()).hexdigest()


def read_support(classes: Mapping[str, Sequence[str]], read: Read, typed: str) -> Support:
    """Read and prepare the items of each class; copies within a class are used once.

    Args:
        classes: name → paths or sentences.
        read: prepares items.
        typed: `support=…` as the user typed it, for messages.

    Raises:
        Refused: there are fewer than 2 classes, an item cannot be read, or the same item is in two
            classes.
    """
    if len(classes) < 2:
        raise Refused(f"{typed}: has one class ({', '.join(classes)}); a support needs 2 at least")
    arrays, labels, sources = [], [], []
    place: dict[bytes, int] = {}
    mistakes, copies = [], []
    for label, (name, of_class) in enumerate(classes.items()):
        for source, item in zip(of_class, read(of_class), strict=True):
            if isinstance(item, Broken):
                mistakes.append(f"{printable(source)}: cannot be read ({item})")
                continue
            first = place.setdefault(digest(item), len(arrays))
            if first < len(arrays):
                pair = f"{printable(sources[first])} and {printable(source)}"
                if labels[first] != label:
                    other = list(classes)[labels[first]]
                    mistakes.append(f"{typed}: {pair} are the same item, in {other} and {name}")
                copies.append(pair)
                continue
            arrays.append(item)
            labels.append(label)
            sources.append(source)
    if mistakes:
        more = [f"{typed}: {len(mistakes) - SHOWN} more like these"] * (len(mistakes) > SHOWN)
        raise Refused(*mistakes[:SHOWN], *more)
    if copies:
        log.warning("%s: equal items of a class are used once: %s", typed, named(copies))
    return Support(tuple(classes), np.stack(arrays), np.array(labels), tuple(sources), place)


def digest(item: np.ndarray) -> bytes:
    """Digest of a prepared item."""
    return hashlib.blake2b(np.ascontiguousarray(item).tobytes(), digest_size=16).digest()
