"""Finds duplicates in splits: items with equal bytes, and pictures that were encoded again."""

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

TOLERATED = 0.01  # share of copies in a split; fewer change a score by less than its interval
MAX_PICTURES = 40_000  # compared with all others; larger data sets are compared class by class


class Position(NamedTuple):
    """The position of a picture in the splits."""

    split: str
    name: str  # of its class
    number: int  # of its class, over all splits
    item: int  # position in its class


def find_copies(splits: Mapping[str, Any]) -> list[Finding]:
    """Find copies in the splits, and near-copies if the items are pictures.

    An audit fails if they are more than `TOLERATED` of the items of a split; the audit of copies
    also fails if a class has no items of its own, only items of other classes.
    """
    of_classes = {name: split for name, split in splits.items() if isinstance(split, Split)}
    pictures = {name: split for name, split in of_classes.items() if len(split.shape) == 3}
    findings = [_find_equal(of_classes)] if of_classes else []
    return [*findings, _find_similar(pictures)] if pictures else findings


def _find_equal(splits: Mapping[str, Split]) -> Finding:
    lines, failed, values = [], False, {}
    for name, split in splits.items():
        copies = repeats(split)
        lines += copies.lines(name)
        values[name] = {"items": copies.items, **copies.counts}
        failed |= bool(copies.without_own) or sum(copies.counts.values()) > TOLERATED * copies.items
    status = "failed" if failed else "measured" if lines else "passed"
    text = "; ".join(lines) or "no two items of a split are equal"
    return Finding("copies", status, text, values)


def _find_similar(splits: Mapping[str, Split]) -> Finding:
    classes, positions = _details(splits)
    within, across, examples = Counter(), Counter(), []
    similar: dict[str, set[int]] = {split: set() for split in splits}
    for i, j in _pairs(classes):
        a, b = positions[i], positions[j]
        if a.split == b.split:
            similar[a.split] |= {i, j}
            within[a.name] += a.number == b.number
        across[f"{a.split} and {b.split}"] += a.split != b.split
        examples.append(f"{a.name}/{a.item} ~ {b.name}/{b.item}")
    sizes = Counter(position.split for position in positions)
    counts = {split: len(pictures) for split, pictures in similar.items()}
    parts = [f"{n} of {sizes[split]} pictures of {split}" for split, n in counts.items() if n]
    parts += [f"{n} pairs in {two_splits}" for two_splits, n in (+across).items()]
    text = "no picture is nearly the same as another one"
    if parts:
        by_class = [f"{name}: {n}" for name, n in (+within).most_common()]
        text = f"nearly the same as another one: {', '.join(parts)} ({named(examples)})"
        text += f"; pairs within a class: {named(by_class)}" if by_class else ""
    if len(positions) > MAX_PICTURES:
        text += "; only pictures of the same class were compared"
    failed = any(n > TOLERATED * sizes[split] for split, n in counts.items())
    status = "failed" if failed else "measured" if parts else "passed"
    values = {"pictures": dict(sizes), "alike": counts, "across": dict(+across)}
    return Finding("near-copies", status, text, {**values, "examples": examples[:20]})


def _details(splits: Mapping[str, Split]) -> tuple[list[Tensor], list[Position]]:
    """The fine detail of the pictures of each class, and their positions; equal pictures once."""
    classes, positions, seen = [], [], set()
    for name, split in splits.items():
        for first, c in zip(*np.unique(split.first, return_index=True), strict=True):
            items = split.items[first : first + split.counts[c]]
            digests = [hashlib.blake2b(item.tobytes()).digest() for item in items]
            new = [k for k, d in enumerate(digests) if d not in seen and not seen.add(d)]
            classes.append(fine_detail(items[new]))
            positions += [Position(name, split.names[c], len(classes), k) for k in new]
    return classes, positions


def _pairs(classes: list[Tensor]) -> Iterator[tuple[int, int]]:
    """Pairs of indices, over all classes, of pictures that are nearly the same."""
    minimum = threshold(classes)
    parts = [torch.cat(classes)] if sum(map(len, classes)) <= MAX_PICTURES else classes
    start = 0
    for rows in parts:
        yield from ((start + i, start + j) for i, j in near_copies(rows, minimum))
        start += len(rows)
