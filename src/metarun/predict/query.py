"""The items to label: they are read and scored in chunks, so that memory does not grow."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from metarun.data.preparation.class_folders import printable
from metarun.data.preparation.pixels import Broken
from metarun.predict.calibration import probabilities
from metarun.predict.classifier import Scores, chunk_size
from metarun.predict.support import Read, Support, digest

UNKNOWN, UNREADABLE = "unknown", "unreadable"


@dataclass
class Labelled:
    """Items with their labels, in the order of the query.

    Attributes:
        names: (N) the classes.
        sources: (m) paths or sentences.
        scores: (m, N); NaN for items that cannot be read.
        probabilities: (m, N), alike.
        labels: (m) names of classes, `unknown` or `unreadable`.
        notes: (m) why an item cannot be read, or that it is in the support; mostly empty.
        digests: (m) digest of each prepared item; empty if it cannot be read.
        truth: (m) the true class of each item, or `None`.
    """

    names: tuple[str, ...]
    sources: list[str]
    scores: np.ndarray
    probabilities: np.ndarray
    labels: list[str]
    notes: list[str]
    digests: list[bytes]
    truth: list[str | None] = field(default_factory=list)

    @cached_property
    def confidence(self) -> np.ndarray:
        """(m) the largest probability of each item; NaN if it cannot be read."""
        return self.probabilities.max(1)

    @cached_property
    def likeliest(self) -> list[str | None]:
        """(m) the class with the largest score; `None` for items that cannot be read."""
        numbers = np.nan_to_num(self.scores, nan=0.0).argmax(1).tolist()
        return [self.names[n] if d else None for n, d in zip(numbers, self.digests, strict=True)]


def label(
    sources: Sequence[str],
    unusable: Mapping[str, str],
    read: Read,
    scores: Scores,
    support: Support,
    temperature: float = 1.0,
    unknown_below: float = 0.0,
    proceed: Callable[[int], None] = lambda done: None,
) -> Labelled:
    """Label the items.

    Args:
        sources: paths or sentences.
        unusable: those that cannot be read, with the reason.
        read: prepares items.
        scores: of prepared items, from the learner adapted to `support`.
        temperature: divisor of the scores in the softmax.
        unknown_below: items with a smaller largest probability are labelled `unknown`.
        proceed: called with the number of finished items.
    """
    rows = np.full((len(sources), len(support.names)), np.nan)
    notes, digests = [""] * len(sources), [b""] * len(sources)
    for start, chunk in prepared_chunks(sources, unusable, read, chunk_size(len(support.items))):
        usable = {start + i: x for i, x in enumerate(chunk) if not isinstance(x, Broken)}
        for i, item in enumerate(chunk, start):
            if isinstance(item, Broken):
                notes[i] = str(item)
                continue
            digests[i] = digest(item)
            if (place := support.place.get(digests[i])) is not None:
                notes[i] = f"in the support: {printable(support.sources[place])}"
        if usable:
            rows[list(usable)] = scores(np.stack(list(usable.values())))
        proceed(start + len(chunk))
    shares = probabilities(rows, temperature)
    labels = [
        UNREADABLE if np.isnan(row[0]) else UNKNOWN if p < unknown_below else support.names[n]
        for row, p, n in zip(
            rows, shares.max(1), np.nan_to_num(rows, nan=0.0).argmax(1), strict=True
        )
    ]
    return Labelled(support.names, list(sources), rows, shares, labels, notes, digests)


def prepared_chunks(
    sources: Sequence[str], unusable: Mapping[str, str], read: Read, size: int
) -> Iterator[tuple[int, list[np.ndarray | Broken]]]:
    """The prepared items of each chunk, with the number of its first item."""
    for start in range(0, len(sources), size):
        chunk = sources[start : start + size]
        found = iter(read([source for source in chunk if source not in unusable]))
        yield start, [Broken(unusable[s]) if s in unusable else next(found) for s in chunk]
