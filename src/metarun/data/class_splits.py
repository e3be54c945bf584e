"""Which classes are for training, validation and test: by shares, or by a file that says so."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from metarun.data.duplicates import named
from metarun.errors import Refused

SPLITS = ("train", "val", "test")
FEWEST = 2  # classes of a split: fewer make no task
LARGEST = 16 << 20  # bytes of a split file


def divide(names: Iterable[str], shares: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Deal classes out at random, the same way for the same names and seed on every machine.

    Classes are put in the order of a hash of seed and name, and cut: another class more or less
    moves few of the others to another split.

    Args:
        shares: of train, val and test: fractions that add up to 1, or numbers of classes.

    Raises:
        Refused: the shares do not fit the classes.
    """
    names = sorted(names)
    sizes = _sizes(len(names), shares)
    order = sorted(names, key=lambda n: hashlib.sha256(f"{seed}/{n}".encode()).digest())
    ends = [sum(sizes[: i + 1]) for i in range(3)]
    return {
        split: sorted(order[end - size : end])
        for split, size, end in zip(SPLITS, sizes, ends, strict=True)
    }


def _sizes(classes: int, shares: Sequence[float]) -> list[int]:
    """Classes of each split, 2 at least."""
    typed = f"data.fractions={list(shares)}"
    if all(share == int(share) for share in shares):
        sizes = [int(share) for share in shares]
        if sum(sizes) != classes or min(sizes) < FEWEST:
            raise Refused(
                f"{typed}: numbers of classes should add up to the {classes} that there are, "
                f"with {FEWEST} at least in each of train, val and test"
            )
        return sizes
    if abs(sum(shares) - 1) > 1e-6:
        raise Refused(f"{typed}: fractions should add up to 1, not {sum(shares):g}")
    if classes < 3 * FEWEST:
        raise Refused(
            f"{typed}: {classes} classes cannot be divided; train, val and test need {FEWEST} each"
        )
    exact = [share * classes for share in shares]
    sizes = [int(size + 1e-9) for size in exact]
    for i in sorted(range(3), key=lambda i: sizes[i] - exact[i])[: classes - sum(sizes)]:
        sizes[i] += 1  # what rounding down left over goes where it took most
    while min(sizes) < FEWEST:
        sizes[sizes.index(max(sizes))] -= 1
        sizes[sizes.index(min(sizes))] += 1
    return sizes


def from_file(path: Path, known: Iterable[str]) -> dict[str, list[str]]:
    """The split that a JSON file holds: `{"train": ["cat", …], "val": […], "test": […]}`.

    Args:
        known: the classes that there are; those in no split are left out.

    Raises:
        Refused: with a line for each mistake in the file.
    """
    key = f"data.split_file={path}"
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) > LARGEST:
            raise Refused(f"{key}: more than {LARGEST >> 20} MB cannot be a list of classes")
        found = json.loads(content)
    except OSError as error:
        raise Refused(f"{key}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise Refused(f"{key}: is not JSON ({error})") from error
    if not isinstance(found, Mapping) or not all(
        isinstance(found.get(split), list) and all(isinstance(n, str) for n in found[split])
        for split in SPLITS
    ):
        raise Refused(
            f'{key}: should hold {{"train": [names of classes], "val": […], "test": […]}}'
        )
    found = {
        split: [unicodedata.normalize("NFC", name) for name in found[split]] for split in SPLITS
    }
    known, listed = set(known), Counter(name for split in SPLITS for name in found[split])
    wrong = {
        "not in data.root": sorted(set(listed) - known),
        "listed more than once": sorted(name for name, times in listed.items() if times > 1),
    }
    lines = [
        f"{key}: {len(names)} class{'es' * (len(names) > 1)} {what}: {named(names)}"
        for what, names in wrong.items()
        if names
    ]
    lines += [f"{key}: no classes in {split}" for split in SPLITS if not found[split]]
    if lines:
        raise Refused(*lines)
    return found
