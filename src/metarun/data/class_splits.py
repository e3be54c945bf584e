"""Division of classes into train, val and test: at random, or as listed in a file."""

from __future__ import annotations

import hashlib
import itertools
import json
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.config.explanation import show
from metarun.data.duplicates import named
from metarun.errors import Refused
from metarun.files import read_or_refuse

SPLITS = ("train", "val", "test")
MIN_CLASSES = 2  # per split: a task needs two
MAX_BYTES = 16 << 20  # of a split file
TEST_ONLY = "; data.fractions=[0,0,1] puts all classes into test, for a run trained on other data"
LISTS = Path(__file__).parent / "splits"


def published_list(name: str) -> Any:
    """Content of `splits/NAME.json`; in most cases the classes of each split or domain."""
    return json.loads((LISTS / f"{name}.json").read_text("utf-8"))


def divide(
    names: Iterable[str], shares: Sequence[float], seed: int, source: str = "data.root"
) -> dict[str, list[str]]:
    """Split classes at random; equal names and seeds give equal splits on every machine.

    Args:
        shares: of train, val and test, as fractions that add up to 1 or as numbers of classes. A
            split with the share 0 is empty.
        source: the key that names the files, for messages.

    Raises:
        Refused: the shares do not fit the classes.
    """
    names = sorted(names)
    sizes = _sizes(len(names), shares, source)
    return _shuffled(names, f"{seed}/", dict(zip(SPLITS, sizes, strict=True)))


def split_classes(
    names: Iterable[str],
    fractions: Sequence[float],
    seed: int,
    file: str | Path | None,
    source: str,
) -> dict[str, list[str]]:
    """The classes of train, val and test, by `from_file` or, without a file, by `divide`.

    Args:
        fractions, seed: see `divide`.
        file: see `from_file`.
        source: `key=value` that names the data, for messages.
    """
    if file is not None:
        return from_file(Path(file).expanduser(), names, source.partition("=")[0])
    names = list(names)
    used = [split for split, share in zip(SPLITS, fractions, strict=True) if share]
    if len(names) < MIN_CLASSES * len(used):
        raise Refused(
            f"{source}: {len(names)} class{'es' * (len(names) != 1)} ({named(names)}), and "
            f"{' and '.join(', '.join(used).rsplit(', ', 1))} need {MIN_CLASSES} each"
            f"{TEST_ONLY * (len(used) > 1)}"
        )
    return divide(names, fractions, seed, source)


def held_out(names: Iterable[str], val: int, test: int, seed: int) -> dict[str, list[str]]:
    """Split classes at random like `divide`, with `val` and `test` as numbers of classes.

    The same seed gives another split than `divide` does.
    """
    return _shuffled(names, f"{seed} ", {"test": test, "val": val, "train": None})


def _shuffled(
    names: Iterable[str], salt: str, sizes: Mapping[str, int | None]
) -> dict[str, list[str]]:
    """Order classes by a hash of salt and name, then cut; size `None` takes all that remain.

    Adding or removing a class moves few other classes to another split.
    """
    order = iter(sorted(names, key=lambda n: hashlib.sha256(f"{salt}{n}".encode()).digest()))
    parts = {split: sorted(itertools.islice(order, size)) for split, size in sizes.items()}
    return {split: parts[split] for split in SPLITS}


def _sizes(classes: int, shares: Sequence[float], source: str) -> list[int]:
    """Number of classes of each split: 0, or at least 2."""
    key = f"data.fractions={show(list(shares))}"
    used = [i for i, share in enumerate(shares) if share]
    if sum(shares) > 1 and all(share == int(share) for share in shares):
        sizes = [int(share) for share in shares]
        if sum(sizes) != classes or any(sizes[i] < MIN_CLASSES for i in used):
            raise Refused(
                f"{key}: numbers of classes should add up to the {classes} in {source}, "
                f"with at least {MIN_CLASSES} in each of train, val and test, or 0"
            )
        return sizes
    if abs(sum(shares) - 1) > 1e-6:
        raise Refused(f"{key}: fractions should add up to 1, not {sum(shares):g}")
    if classes < len(used) * MIN_CLASSES:
        few = f"{classes} class{'es' * (classes != 1)} cannot be divided"
        which = " and ".join(", ".join(SPLITS[i] for i in used).rsplit(", ", 1))
        hint = TEST_ONLY * (len(used) > 1)
        raise Refused(f"{key}: {few}; {which} need {MIN_CLASSES} each{hint}")
    exact = [share * classes for share in shares]
    sizes = [int(size + 1e-9) for size in exact]
    for i in sorted(range(3), key=lambda i: sizes[i] - exact[i])[: classes - sum(sizes)]:
        sizes[i] += 1  # the largest remainders are rounded up
    while any(sizes[i] < MIN_CLASSES for i in used):
        sizes[sizes.index(max(sizes))] -= 1
        smallest = min(used, key=lambda i: sizes[i])
        sizes[smallest] += 1
    return sizes


def from_file(
    path: Path, classes: Iterable[str], source: str = "data.root"
) -> dict[str, list[str]]:
    """Read a split from a JSON file: `{"train": ["cat", …], "val": […], "test": […]}`.

    Args:
        classes: the existing classes; the file may omit some.
        source: the key that names the files, for messages.

    Raises:
        Refused: with a line for each mistake in the file.
    """
    key = f"data.split_file={path}"
    try:
        splits = json.loads(read_or_refuse(path, MAX_BYTES, key))
    except (ValueError, RecursionError) as error:
        raise Refused(f"{key}: is not JSON ({error})") from error
    if not isinstance(splits, Mapping) or not all(
        isinstance(splits.get(split), list) and all(isinstance(n, str) for n in splits[split])
        for split in SPLITS
    ):
        form = '{"train": [names of classes], "val": […], "test": […]}'
        raise Refused(f"{key}: should hold {form}")
    splits = {s: [unicodedata.normalize("NFC", name) for name in splits[s]] for s in SPLITS}
    existing, listed = set(classes), Counter(name for split in SPLITS for name in splits[split])
    mistakes = {
        f"not in {source}": sorted(set(listed) - existing),
        "listed more than once": sorted(name for name, times in listed.items() if times > 1),
    }
    lines = [
        f"{key}: {len(names)} class{'es' * (len(names) > 1)} {problem}: {named(names)}"
        for problem, names in mistakes.items()
        if names
    ]
    lines += [f"{key}: no classes in {split}" for split in SPLITS if not splits[split]]
    if lines:
        raise Refused(*lines)
    return splits
