"""Which classes are for training, validation and test: by lot, or by a file that says so."""

from __future__ import annotations

import hashlib
import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.data.duplicates import named
from metarun.errors import Refused
from metarun.files import read_or_refuse

SPLITS = ("train", "val", "test")
FEWEST = 2  # classes of a split: fewer make no task
LARGEST = 16 << 20  # bytes of a split file
LISTS = Path(__file__).parent / "splits"


def published_list(name: str) -> Any:
    """What `splits/NAME.json` holds: mostly the classes of each split, or of each domain."""
    return json.loads((LISTS / f"{name}.json").read_text("utf-8"))


def divide(names: Iterable[str], shares: Sequence[float], seed: int) -> dict[str, list[str]]:
    """Deal classes out at random, the same way for the same names and seed on every machine.

    Args:
        shares: of train, val and test: fractions that add up to 1, or numbers of classes.

    Raises:
        Refused: the shares do not fit the classes.
    """
    names = sorted(names)
    return _dealt(names, f"{seed}/", dict(zip(SPLITS, _sizes(len(names), shares), strict=True)))


def held_out(names: Iterable[str], val: int, test: int, seed: int) -> dict[str, list[str]]:
    """Deal `names` to `train`, `val` and `test` as `divide` does, the last two of the sizes given.

    The same seed makes another split here than there.
    """
    return _dealt(names, f"{seed} ", {"test": test, "val": val, "train": None})


def _dealt(
    names: Iterable[str], salt: str, sizes: Mapping[str, int | None]
) -> dict[str, list[str]]:
    """Put classes in the order of a hash of salt and name, and cut; `None` stands for the rest.

    Another class more or less moves few of the others to another split.
    """
    order = iter(sorted(names, key=lambda n: hashlib.sha256(f"{salt}{n}".encode()).digest()))
    parts = {split: sorted(itertools.islice(order, size)) for split, size in sizes.items()}
    return {split: parts[split] for split in SPLITS}


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
        few = f"{classes} classes cannot be divided"
        raise Refused(f"{typed}: {few}; train, val and test need {FEWEST} each")
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
        found = json.loads(read_or_refuse(path, LARGEST, key))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{key}: is not JSON ({error})") from error
    if not isinstance(found, Mapping) or not all(
        isinstance(found.get(split), list) and all(isinstance(n, str) for n in found[split])
        for split in SPLITS
    ):
        form = '{"train": [names of classes], "val": […], "test": […]}'
        raise Refused(f"{key}: should hold {form}")
    found = {s: [unicodedata.normalize("NFC", name) for name in found[s]] for s in SPLITS}
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
