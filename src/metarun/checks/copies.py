"""Items that a split holds twice: equal to the byte, or one picture that was encoded twice."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from metarun.checks.finding import Finding
from metarun.checks.likeness import fine_detail, near_copies, threshold
from metarun.data.classes import Split
from metarun.data.duplicates import named, repeats

TOLERATED = 0.01  # share of a split's items: fewer copies change a figure by less than its interval
MOST = 40_000  # pictures of a data set that are compared with all others; of more, class by class


class Owner(NamedTuple):
    """Where a picture is."""

    split: str
    name: str  # of its class
    number: int  # of its class, over all splits
    item: int  # position in its class


def find_copies(splits: Mapping[str, Any]) -> list[Finding]:
    """Copies in the splits, and near-copies where the items are pictures.

    They fail where more than `TOLERATED` of a split's items are such, or one class of a split holds
    nothing but items of another.
    """
    made = {name: tasks for name, tasks in splits.items() if isinstance(tasks, Split)}
    pictures = {name: tasks for name, tasks in made.items() if len(tasks.shape) == 3}
    found = [_equal(made)] if made else []
    return [*found, _alike(pictures)] if pictures else found


def _equal(splits: Mapping[str, Split]) -> Finding:
    lines, failed, values = [], False, {}
    for name, tasks in splits.items():
        found = repeats(tasks)
        lines += found.lines(name)
        values[name] = {"items": found.items, **found.counts}
        failed |= bool(found.without_own) or sum(found.counts.values()) > TOLERATED * found.items
    status = "failed" if failed else "measured" if lines else "passed"
    text = "; ".join(lines) or "no item is twice in a split, to the byte"
    return Finding("copies", status, text, values)


def _alike(splits: Mapping[str, Split]) -> Finding:
    classes, owners = _details(splits)
    within, across, examples = Counter(), Counter(), []
    alike: dict[str, set[int]] = {split: set() for split in splits}
    for i, j in _pairs(classes):
        one, two = owners[i], owners[j]
        if one.split == two.split:
            alike[one.split] |= {i, j}
            within[one.name] += one.number == two.number
        across[f"{one.split} and {two.split}"] += one.split != two.split
        examples.append(f"{one.name}/{one.item} ~ {two.name}/{two.item}")
    sizes = Counter(owner.split for owner in owners)
    counts = {split: len(some) for split, some in alike.items()}
    parts = [f"{n} of {sizes[split]} pictures of {split}" for split, n in counts.items() if n]
    parts += [f"{n} pairs in {both}" for both, n in (+across).items()]
    text = "no picture is nearly the same as another one"
    if parts:
        classes = [f"{name}: {n}" for name, n in (+within).most_common()]
        text = f"nearly the same as another one: {', '.join(parts)} ({named(examples)})"
        text += f"; pairs within a class: {named(classes)}" if classes else ""
    if len(owners) > MOST:
        text += "; only pictures of one class were compared"
    failed = any(n > TOLERATED * sizes[split] for split, n in counts.items())
    status = "failed" if failed else "measured" if parts else "passed"
    values = {"pictures": dict(sizes), "alike": counts, "across": dict(+across)}
    return Finding("near-copies", status, text, {**values, "examples": examples[:20]})


def _details(splits: Mapping[str, Split]) -> tuple[list[Tensor], list[Owner]]:
    """The fine detail of each class's pictures and where these are; of equal ones, the first."""
    classes, owners, seen = [], [], set()
    for split, tasks in splits.items():
        for first, c in zip(*np.unique(tasks.first, return_index=True), strict=True):
            items = tasks.items[first : first + tasks.counts[c]]
            digests = [hashlib.blake2b(item.tobytes()).digest() for item in items]
            new = [k for k, d in enumerate(digests) if d not in seen and not seen.add(d)]
            classes.append(fine_detail(items[new]))
            owners += [Owner(split, tasks.names[c], len(classes), k) for k in new]
    return classes, owners


def _pairs(classes: list[Tensor]) -> Iterator[tuple[int, int]]:
    """Positions, over all classes, of pictures that are nearly the same."""
    least = threshold(classes)
    together = [torch.cat(classes)] if sum(map(len, classes)) <= MOST else classes
    start = 0
    for rows in together:
        yield from ((start + i, start + j) for i, j in near_copies(rows, least))
        start += len(rows)
