"""Fast checks at every start: classes and items that several splits or classes share."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from metarun.data.classes import Split

SHOWN = 3  # examples in a message


def shared_classes(splits: Mapping[str, Split]) -> list[str]:
    """A line for each pair of splits with common classes: equal names or the same items."""
    lines = []
    for (name_a, a), (name_b, b) in combinations(_class_splits(splits).items(), 2):
        names, starts = set(b.names), set(b.first.tolist()) if a.items is b.items else set()
        pairs = zip(a.names, a.first.tolist(), strict=True)
        if shared := [name for name, first in pairs if name in names or first in starts]:
            where = f"in both {name_a} and {name_b}; a class may be in one split only"
            lines.append(f"{named(shared)}: {where}")
    return lines


def shared_items(splits: Mapping[str, Split]) -> list[str]:
    """A line for each pair of splits with equal items, with the first of them as examples."""
    pairs: dict[tuple[str, str], list[str]] = {}
    for (name_a, a), (name_b, b) in combinations(_class_splits(splits).items(), 2):
        for group in a.copies if a.items is b.items else ():
            items_a = [item for k, item in group if _holds(a, k)]
            items_b = [item for k, item in group if _holds(b, k)]
            if items_a and items_b:
                pairs.setdefault((name_a, name_b), []).append(f"{items_a[0]} = {items_b[0]}")
    return [
        f"{len(equal)} item{'s' * (len(equal) > 1)} of {a} {'is' if len(equal) == 1 else 'are'} "
        f"in {b} too, to the byte: {named(equal)}"
        for (a, b), equal in pairs.items()
    ]


@dataclass
class Repeats:
    """Byte-identical items within one split.

    Attributes:
        items: number of items in the split. Rotated copies of a class count once.
        within: class → number of its items that equal an earlier item of the same class.
        shared: number of items that are also in another class.
        between: pair of classes → number of distinct items in both. If more than two classes share
            an item, it counts for the pairs of the first class with each of the others.
        without_own: classes whose items are all in other classes, too.
    """

    items: int = 0
    within: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    between: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_own: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """Totals, as recorded in the protocol of a result."""
        return {"within_classes": self.within.total(), "between_classes": self.shared}

    def lines(self, split: str) -> list[str]:
        """Up to two warnings: equal items within classes, and between classes."""
        lines = []
        if self.within:
            classes = [f"{name}: {count}" for name, count in self.within.most_common()]
            lines.append(
                f"{self.within.total()} of {self.items} items of {split} equal another item of "
                f"their class, to the byte ({named(classes)}): a query may be in its own support"
            )
        if self.between:
            pairs = [f"{a} = {b}: {count}" for (a, b), count in self.between.most_common()]
            lines.append(
                f"{self.shared} of {self.items} items of {split} are in another class too, to the "
                f"byte ({named(pairs)}): no learner can tell which class is meant"
            )
        return lines


def repeats(split: Split) -> Repeats:
    """Count the equal items of a split by class."""
    first, where = np.unique(split.first, return_index=True)
    starts, counts = first.tolist(), split.counts[where].tolist()
    names = [split.names[c] for c in where]
    result, unshared = Repeats(items=sum(counts)), list(counts)
    for group in split.copies:
        holders: Counter[int] = Counter()
        for position, _ in group:
            c = bisect_right(starts, position) - 1
            if c >= 0 and position < starts[c] + counts[c]:
                holders[c] += 1
        for c, count in holders.items():
            if count > 1:
                result.within[names[c]] += count - 1
        if len(holders) > 1:
            first, *others = sorted(holders)
            result.shared += holders.total()
            result.between.update((names[first], names[c]) for c in others)
            for c, count in holders.items():
                unshared[c] -= count
    result.without_own = [name for name, count in zip(names, unshared, strict=True) if not count]
    return result


def warnings(splits: Mapping[str, Split]) -> list[str]:
    """All warnings about equal items, between splits and within them."""
    repeated = (repeats(split).lines(name) for name, split in _class_splits(splits).items())
    return [*shared_items(splits), *(line for lines in repeated for line in lines)]


def named(names: list[str]) -> str:
    """The first few names, joined, and the number of the others: `a, b, c and 4 more`."""
    more = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def counted(kinds: Mapping[str, list[str]]) -> str:
    """The number and first few names of each kind; empty if there are no names."""
    return ", ".join(f"{len(n)} {kind} ({named(n)})" for kind, n in kinds.items() if n)


def _class_splits(splits: Mapping[str, Any]) -> dict[str, Split]:
    """The splits that consist of classes."""
    return {name: split for name, split in splits.items() if isinstance(split, Split)}


def _holds(split: Split, position: int) -> bool:
    """Whether the item at `position` in `split.items` belongs to a class of the split."""
    return bool(np.any((split.first <= position) & (position < split.first + split.counts)))
