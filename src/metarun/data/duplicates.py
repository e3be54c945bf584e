"""What every start checks, in milliseconds: classes and items that splits or classes share."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np

from metarun.data.classes import Split

SHOWN = 3  # examples of a finding


def shared_classes(splits: Mapping[str, Split]) -> list[str]:
    """A line for each two splits that have classes in common, by name or by all their items."""
    lines = []
    for (one, a), (two, b) in combinations(_of_classes(splits).items(), 2):
        names, starts = set(b.names), set(b.first.tolist()) if a.items is b.items else set()
        pairs = zip(a.names, a.first.tolist(), strict=True)
        if both := [name for name, first in pairs if name in names or first in starts]:
            where = f"in both {one} and {two}; a class may be in one split only"
            lines.append(f"{named(both)}: {where}")
    return lines


def shared_items(splits: Mapping[str, Split]) -> list[str]:
    """A line for each two splits that hold equal items, with the first pairs of them."""
    known = _of_classes(splits)
    pairs: dict[tuple[str, str], list[str]] = {}
    for one, two in combinations(known, 2):
        a, b = known[one], known[two]
        for group in a.copies if a.items is b.items else ():
            mine = [name for k, name in group if _holds(a, k)]
            theirs = [name for k, name in group if _holds(b, k)]
            if mine and theirs:
                pairs.setdefault((one, two), []).append(f"{mine[0]} = {theirs[0]}")
    return [
        f"{len(found)} item{'s' * (len(found) > 1)} of {one} {'is' if len(found) == 1 else 'are'} "
        f"in {two} too, to the byte: {named(found)}"
        for (one, two), found in pairs.items()
    ]


@dataclass
class Repeats:
    """Items of one split that are equal to the byte.

    Attributes:
        items: in the split. Rotated copies of a class, as classes of their own, count once.
        within: class → its items that equal an earlier item of the same class.
        shared: items that another class holds too.
        between: pair of classes → different items that both hold; each item counts for the first
            class that holds it with each of the others.
        without_own: classes all of whose items other classes hold too.
    """

    items: int = 0
    within: Counter[str] = field(default_factory=Counter)
    shared: int = 0
    between: Counter[tuple[str, str]] = field(default_factory=Counter)
    without_own: list[str] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """For the protocol of a figure."""
        return {"within_classes": self.within.total(), "between_classes": self.shared}

    def lines(self, split: str) -> list[str]:
        """A line for copies within classes and one for copies between them, if there are any."""
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
    """The equal items of a split, by class."""
    first, where = np.unique(split.first, return_index=True)
    starts, counts = first.tolist(), split.counts[where].tolist()
    names = [split.names[c] for c in where]
    found, own = Repeats(items=sum(counts)), list(counts)
    for group in split.copies:
        holders: Counter[int] = Counter()
        for position, _ in group:
            c = bisect_right(starts, position) - 1
            if c >= 0 and position < starts[c] + counts[c]:
                holders[c] += 1
        for c, count in holders.items():
            if count > 1:
                found.within[names[c]] += count - 1
        if len(holders) > 1:
            first, *others = sorted(holders)
            found.shared += holders.total()
            found.between.update((names[first], names[c]) for c in others)
            for c, count in holders.items():
                own[c] -= count
    found.without_own = [name for name, count in zip(names, own, strict=True) if not count]
    return found


def warnings(splits: Mapping[str, Split]) -> list[str]:
    """What to say of the data whenever it is used: equal items between splits and within them."""
    own = (repeats(split).lines(name) for name, split in _of_classes(splits).items())
    return [*shared_items(splits), *(line for lines in own for line in lines)]


def small_classes(split: Split, needed: int) -> list[str]:
    """The classes with fewer items than `needed`, smallest first, as `name: items`."""
    short = np.flatnonzero(split.counts < needed)
    order = short[np.argsort(split.counts[short], kind="stable")]
    return [f"{split.names[c]}: {split.counts[c]}" for c in order]


def named(found: list[str]) -> str:
    """The first few of `found`, and how many more there are."""
    more = len(found) - SHOWN
    return ", ".join(found[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def counted(kinds: Mapping[str, list[str]]) -> str:
    """How many there are of each kind, with the first few; empty if there are none."""
    return ", ".join(f"{len(some)} {kind} ({named(some)})" for kind, some in kinds.items() if some)


def _of_classes(splits: Mapping[str, Any]) -> dict[str, Split]:
    """Those that are made of classes."""
    return {name: split for name, split in splits.items() if isinstance(split, Split)}


def _holds(split: Split, position: int) -> bool:
    return bool(np.any((split.first <= position) & (position < split.first + split.counts)))
