"""Checks that splits share no classes, and that no query is in the support of its episode."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import combinations
from typing import Any

import numpy as np

from metarun.checks.copies import TOLERATED
from metarun.checks.finding import Finding
from metarun.data.classes import Split
from metarun.data.duplicates import named, shared_classes, shared_items
from metarun.data.equal_items import equal_classes, equal_items
from metarun.tasks.any_size import Choices
from metarun.tasks.of_split import OfSplit
from metarun.tasks.sampler import Sampler

EPISODES = 200


def class_overlap(splits: Mapping[str, Any]) -> list[Finding]:
    """Check that no class is in two splits, by name or by its items, and count shared items.

    Unlike the check of every start, it also compares the contents of splits that are stored in
    different arrays.
    """
    name = "class overlap"
    of_classes = {name: split for name, split in splits.items() if isinstance(split, Split)}
    if not of_classes:
        return [Finding(name, "passed", "the tasks are not made of classes")]
    lines = shared_classes(splits) + _equal_classes(of_classes)
    sizes = {name: split.facts.classes for name, split in of_classes.items()}
    counts = ", ".join(f"{count} in {split}" for split, count in sizes.items())
    overlap = Finding(
        name,
        "failed" if lines else "passed",
        "; ".join(lines) or f"no class is in two splits: {counts}",
        {"classes": sizes, "shared": lines},
    )
    items = shared_items(splits) + _equal_items(of_classes)
    text = "; ".join(items) or "no item is in two splits"
    return [overlap, Finding("item overlap", "measured", text, {"shared": items})]


def support_query_overlap(sampler: Sampler, split: str, episodes: int = EPISODES) -> Finding:
    """Check that no query of an episode is in its support, by position and by content.

    A query may equal a support item because the data set contains that item twice. These are
    counted, and the audit fails if they are more than `TOLERATED` of all queries.
    """
    name = f"support–query overlap, {split}"
    if not isinstance(sampler.source, OfSplit):
        return Finding(name, "passed", "the tasks are not made of the items of a split")
    sampler = Sampler(sampler.source, sampler.key)  # without augmentation, which hides copies
    source_split = sampler.source.split
    same = duplicates = unexplained = queries = 0
    for i in range(episodes):
        positions = _positions(sampler, i)
        if positions is not None:
            support, query = positions
            same += np.isin(query, support).sum()
        (task,) = sampler.tasks([i])
        rows = [examples.x.cpu().numpy() for examples in (task.support, task.query)]
        digests = [[row.tobytes() for row in x] for x in rows]
        for k, digest in enumerate(digests[1]):
            equal = [j for j, other in enumerate(digests[0]) if other == digest]
            explained = positions is not None and all(
                _are_copies(source_split, support[j], query[k]) for j in equal
            )
            duplicates += bool(equal and explained)
            unexplained += bool(equal and not explained)
        queries += len(digests[1])
    values = {"episodes": episodes, "queries": queries, "same_item": int(same)}
    values |= {"equal_bytes": unexplained, "copies_in_data": duplicates}
    if same or unexplained:
        text = f"{max(int(same), unexplained)} queries of {episodes} episodes are in their support"
        return Finding(name, "failed", text, values)
    if duplicates:
        text = f"{duplicates} of {queries} queries equal a support item: copies in the data set"
        status = "failed" if duplicates > TOLERATED * queries else "measured"
        return Finding(name, status, text, values)
    return Finding(name, "passed", f"no query is in its support, {episodes} episodes", values)


def _positions(sampler: Sampler, number: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Position · 4 + quarter turns of each item of the support and of the query of a task.

    A rotated item belongs to another class, so it is another item. `None` for data without classes.
    """
    choices, shots = sampler.choose(number), sampler.source.shots
    picks = [(choices, shots)]
    if isinstance(choices, Choices):  # one pick for each class
        picks = list(zip(choices.picks, choices.shots.tolist(), strict=True))
    if not all(hasattr(pick, "items") for pick, _ in picks):
        return None
    items = [(pick.items * 4 + pick.turns[:, None], k) for pick, k in picks]
    parts = [x[:, :k].ravel() for x, k in items], [x[:, k:].ravel() for x, k in items]
    return np.concatenate(parts[0]), np.concatenate(parts[1])


def _are_copies(split: Any, a: int, b: int) -> bool:
    """Whether the data explains that two items are equal.

    Args:
        a, b: position · 4 + quarter turns. Items with different turns may be equal by symmetry.
    """
    (position_a, turns_a), (position_b, turns_b) = divmod(int(a), 4), divmod(int(b), 4)
    return turns_a != turns_b or any(
        position_a != position_b and {position_a, position_b} <= {position for position, _ in group}
        for group in getattr(split, "copies", ())
    )


def _equal_classes(splits: Mapping[str, Split]) -> list[str]:
    return [
        f"{named(pairs)}: classes of {a} and {b} with the same items"
        for a, b in _in_different_arrays(splits)
        if (pairs := equal_classes(splits[a], splits[b]))
    ]


def _equal_items(splits: Mapping[str, Split]) -> list[str]:
    return [
        f"{len(pairs)} items of {a} are in {b} too, to the byte: {named(pairs)}"
        for a, b in _in_different_arrays(splits)
        if (pairs := equal_items(splits[a], splits[b]))
    ]


def _in_different_arrays(splits: Mapping[str, Split]) -> list[tuple[str, str]]:
    """Pairs of splits that are stored in different arrays, whose positions cannot be compared."""
    pairs = combinations(splits, 2)
    return [(a, b) for a, b in pairs if splits[a].items is not splits[b].items]
