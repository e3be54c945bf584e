"""What every start looks at, in milliseconds: do the splits share anything that they must not?"""

from __future__ import annotations

from collections.abc import Mapping
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
        both = [name for name, first in pairs if name in names or first in starts]
        if both:
            lines.append(
                f"{named(both)}: in both {one} and {two}; a class may be in one split only"
            )
    return lines


def shared_items(splits: Mapping[str, Split]) -> list[str]:
    """A line for each two splits that hold equal items, with the first pairs of them."""
    known = _of_classes(splits)
    pairs: dict[tuple[str, str], list[str]] = {}
    for one, two in combinations(known, 2):
        a, b = known[one], known[two]
        if a.items is not b.items:
            continue
        for group in a.copies:
            mine = [name for k, name in group if _holds(a, k)]
            theirs = [name for k, name in group if _holds(b, k)]
            if mine and theirs:
                pairs.setdefault((one, two), []).append(f"{mine[0]} = {theirs[0]}")
    return [
        f"{len(found)} item{'s' * (len(found) > 1)} of {one} {'is' if len(found) == 1 else 'are'} "
        f"in {two} too, to the byte: {named(found)}"
        for (one, two), found in pairs.items()
    ]


def small_classes(split: Split, needed: int) -> list[str]:
    """The classes with fewer items than `needed`, smallest first, as `name: items`."""
    short = np.flatnonzero(split.counts < needed)
    order = short[np.argsort(split.counts[short], kind="stable")]
    return [f"{split.names[c]}: {split.counts[c]}" for c in order]


def named(found: list[str]) -> str:
    """The first few of `found`, and how many more there are."""
    more = len(found) - SHOWN
    return ", ".join(found[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _of_classes(splits: Mapping[str, Any]) -> dict[str, Split]:
    """Those that are made of classes."""
    return {name: split for name, split in splits.items() if isinstance(split, Split)}


def _holds(split: Split, position: int) -> bool:
    return bool(np.any((split.first <= position) & (position < split.first + split.counts)))
