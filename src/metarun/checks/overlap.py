"""Nothing is seen that should be new: classes of other splits, queries among the support."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from metarun.checks.copies import TOLERATED
from metarun.checks.finding import Finding
from metarun.data.classes import Split
from metarun.data.duplicates import named, shared_classes, shared_items
from metarun.tasks.gathered import Gathered
from metarun.tasks.sampler import Sampler

EPISODES = 200


def class_overlap(splits: Mapping[str, Any]) -> list[Finding]:
    """No class is in two splits, by name or by its items; equal items in two splits are counted.

    Unlike the look that every start takes, it also compares the contents of splits that do not
    come from one array.
    """
    name = "class overlap"
    made = {split: tasks for split, tasks in splits.items() if isinstance(tasks, Split)}
    if not made:
        return [Finding(name, "passed", "the tasks are not made of classes")]
    lines = shared_classes(splits) + _equal_classes(made)
    sizes = {split: tasks.facts.classes for split, tasks in made.items()}
    words = ", ".join(f"{count} in {split}" for split, count in sizes.items())
    overlap = Finding(
        name,
        "failed" if lines else "passed",
        "; ".join(lines) or f"no class is in two splits: {words}",
        {"classes": sizes, "shared": lines},
    )
    items = shared_items(splits) + _equal_items(made)
    text = "; ".join(items) or "no item is in two splits, to the byte"
    return [overlap, Finding("item overlap", "measured", text, {"shared": items})]


def support_query_overlap(sampler: Sampler, split: str, episodes: int = EPISODES) -> Finding:
    """No query of an episode is in its support: by its number, and by its bytes.

    Queries whose twin is there because the data itself holds that item twice are counted; it fails
    where they are more than `TOLERATED` of all queries.
    """
    name = f"support–query overlap, {split}"
    if not isinstance(sampler.source, Gathered):
        return Finding(name, "passed", "its tasks are not made of the items of a split")
    sampler = Sampler(sampler.source, sampler.key)  # augmented, equal items would look different
    own_split, shots = sampler.source.split, sampler.source.shots
    same = twins = unexplained = queries = 0
    for i in range(episodes):
        pick = sampler.choose(i)
        items = getattr(pick, "items", None)
        if items is not None:  # a turned copy of an item, in a class of its own, is another item
            items = items * 4 + pick.turns[:, None]
            support, query = items[:, :shots].ravel(), items[:, shots:].ravel()
            same += np.isin(query, support).sum()
        (task,) = sampler.tasks([i])
        rows = [examples.x.cpu().numpy() for examples in (task.support, task.query)]
        digests = [[row.tobytes() for row in x] for x in rows]
        for k, digest in enumerate(digests[1]):
            equal = [j for j, other in enumerate(digests[0]) if other == digest]
            known = items is not None and all(
                _known_copies(own_split, support[j], query[k]) for j in equal
            )
            twins, unexplained = (
                twins + bool(equal and known),
                unexplained + bool(equal and not known),
            )
        queries += len(digests[1])
    values = {"episodes": episodes, "queries": queries, "same_item": int(same)}
    values |= {"equal_bytes": unexplained, "copies_in_data": twins}
    if same or unexplained:
        text = f"{max(int(same), unexplained)} queries of {episodes} episodes are in their support"
        return Finding(name, "failed", text, values)
    if twins:
        text = (
            f"{twins} of {queries} queries have a twin in their support, which the data holds twice"
        )
        return Finding(name, "failed" if twins > TOLERATED * queries else "measured", text, values)
    return Finding(name, "passed", f"no query is in its support, {episodes} episodes", values)


def _known_copies(tasks: Any, one: int, two: int) -> bool:
    """Whether the data itself holds two equal items here, each given as place · 4 + turns.

    Items that are turned differently are equal where the drawing is symmetric.
    """
    (first, turned), (second, other) = divmod(int(one), 4), divmod(int(two), 4)
    return turned != other or any(
        first != second and {first, second} <= {place for place, _ in group}
        for group in getattr(tasks, "copies", ())
    )


def _equal_classes(splits: Mapping[str, Split]) -> list[str]:
    lines = []
    for one, two in _apart(splits):
        theirs = {frozenset(own): name for name, own in _digests(splits[two]).items()}
        both = [
            f"{name} = {theirs[frozenset(own)]}"
            for name, own in _digests(splits[one]).items()
            if frozenset(own) in theirs
        ]
        if both:
            lines.append(f"{named(both)}: classes of {one} and {two} with the same items")
    return lines


def _equal_items(splits: Mapping[str, Split]) -> list[str]:
    lines = []
    for one, two in _apart(splits):
        a, b = (
            {
                d: f"{name}/{k}"
                for name, own in _digests(splits[s]).items()
                for k, d in enumerate(own)
            }
            for s in (one, two)
        )
        if both := [f"{a[d]} = {b[d]}" for d in a.keys() & b.keys()]:
            lines.append(f"{len(both)} items of {one} are in {two} too, to the byte: {named(both)}")
    return lines


def _apart(splits: Mapping[str, Split]) -> list[tuple[str, str]]:
    """Pairs of splits whose items do not lie in one array, where positions do not tell."""
    both = combinations(splits, 2)
    return [(one, two) for one, two in both if splits[one].items is not splits[two].items]


def _digests(split: Split) -> dict[str, list[bytes]]:
    """The digest of each item of each class."""
    ranges = zip(split.names, split.first.tolist(), split.counts.tolist(), strict=True)
    return {
        name: [hashlib.blake2b(item.tobytes()).digest() for item in split.items[k : k + n]]
        for name, k, n in ranges
    }
