"""Finds duplicates in splits: equal items, pictures that were encoded again, and crops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from metarun.checks import crops
from metarun.checks.finding import Finding
from metarun.checks.likeness import (
    SAMPLE,
    codes,
    fine_detail,
    near_copies,
    similar_codes,
    threshold,
)
from metarun.checks.pictures import Pictures, Position
from metarun.data.classes import Split
from metarun.data.duplicates import named, repeats
from metarun.data.recordings import Recordings

TOLERATED = 0.01  # share of copies in a split; fewer change a score by less than its interval
MAX_PICTURES = 40_000  # compared with all others; of more, those with similar codes
BLOCK = 4096  # pairs of pictures that are read at once


def find_copies(splits: Mapping[str, Any]) -> list[Finding]:
    """Find copies in the splits, and near-copies and crops if the items are pictures.

    An audit fails if they are more than `TOLERATED` of the items of a split; the audit of copies
    also fails if a class has no items of its own, only items of other classes.
    """
    of_classes = {name: split for name, split in splits.items() if isinstance(split, Split)}
    images = {
        name: split
        for name, split in of_classes.items()  # two spectrograms of a word are alike
        if len(split.shape) == 3 and not isinstance(split, Recordings)
    }
    findings = [_find_equal(of_classes)] if of_classes else []
    if images:
        pictures = Pictures(images)
        findings += [_find_similar(pictures), _find_crops(pictures)]
    return findings


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


def _find_similar(pictures: Pictures) -> Finding:
    many = len(pictures) > MAX_PICTURES
    finding = _finding(
        "near-copies",
        "nearly the same as another one",
        _pairs_by_code(pictures) if many else _pairs(pictures),
        pictures.positions,
        pictures.positions,
    )
    if not many:
        return finding
    text = f"{finding.text}; pictures of different classes were compared if their codes are similar"
    return Finding(finding.name, finding.status, text, finding.values)


def _find_crops(pictures: Pictures) -> Finding:
    name = "crops"
    if pictures.side < crops.SMALLEST:
        text = f"not searched: pictures are smaller than {crops.SMALLEST}×{crops.SMALLEST}"
        return Finding(name, "measured", text)
    pairs = crops.crops(pictures)
    if pairs is None:
        return Finding(name, "measured", "not searched: different pictures are too much alike")
    compared = [pictures.positions[n] for n in crops.queries(pictures)]
    return _finding(name, "a part of another one", pairs, pictures.positions, compared)


def _finding(
    name: str,
    what: str,
    pairs: Iterable[tuple[int, int]],
    positions: Sequence[Position],
    compared: Sequence[Position],
) -> Finding:
    """The finding about pairs of pictures.

    Args:
        what: what a picture of a pair is, for the text.
        pairs: numbers of pictures.
        positions: of all pictures.
        compared: the positions of the pictures that were compared with all others.
    """
    within, across, classes, examples = Counter(), Counter(), Counter(), []
    similar: dict[str, set[Position]] = {p.split: set() for p in positions}
    counted = set(compared)
    for i, j in sorted({(min(pair), max(pair)) for pair in pairs}):
        a, b = positions[i], positions[j]
        if a.split == b.split:
            similar[a.split] |= {a, b} & counted
            within[a.name] += a.number == b.number
        else:
            across[f"{a.split} and {b.split}"] += 1
            classes[f"{a.name} ~ {b.name}"] += 1
        examples.append(f"{a.name}/{a.item} ~ {b.name}/{b.item}")
    sizes = Counter(position.split for position in compared)
    counts = {split: len(alike) for split, alike in similar.items()}
    parts = [f"{n} of {sizes[split]} pictures of {split}" for split, n in counts.items() if n]
    parts += [f"{n} pairs in {two_splits}" for two_splits, n in across.items()]
    text = f"no picture is {what}"
    if parts:
        text = f"{what}: {', '.join(parts)} ({named(examples)})"
        by_class = [f"{class_name}: {n}" for class_name, n in (+within).most_common()]
        text += f"; pairs within a class: {named(by_class)}" if by_class else ""
        by_class = [f"{two_classes}: {n}" for two_classes, n in classes.most_common()]
        text += f"; pairs in two splits: {named(by_class)}" if by_class else ""
    if len(compared) < len(positions):
        text += f"; {len(compared)} of {len(positions)} pictures were compared with all others"
    failed = any(n > TOLERATED * sizes[split] for split, n in counts.items())
    status = "failed" if failed else "measured" if parts else "passed"
    values = {"pictures": dict(sizes), "alike": counts, "across": dict(across)}
    return Finding(name, status, text, {**values, "examples": examples[:20]})


def _pairs(pictures: Pictures) -> list[tuple[int, int]]:
    """The pairs of pictures that are nearly the same, of all pairs."""
    details = [fine_detail(of_class) for of_class in pictures.by_class()]
    return list(near_copies(torch.cat(details), threshold(details)))


def _pairs_by_code(pictures: Pictures) -> list[tuple[int, int]]:
    """The pairs of pictures that are nearly the same, of those in a class or with similar codes."""
    minimum = threshold([fine_detail(of_class) for of_class in pictures.by_class(SAMPLE)])
    pairs: set[tuple[int, int]] = set()
    start, parts = 0, []
    for of_class in pictures.by_class():
        found = near_copies(fine_detail(of_class), minimum)
        pairs.update((start + i, start + j) for i, j in found)
        start += len(of_class)
        parts.append(codes(of_class))
    candidates = similar_codes(np.concatenate(parts))
    for block in np.array_split(candidates, range(BLOCK, len(candidates), BLOCK)):
        if len(block):
            a, b = (fine_detail(pictures.take(numbers)) for numbers in block.T)
            correlated = ((a * b).sum(1) >= minimum).numpy()
            pairs.update(map(tuple, block[correlated].tolist()))
    return sorted(pairs)
