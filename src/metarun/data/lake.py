"""The one-shot challenge of Omniglot's authors: 20 runs, each of 20 characters of one alphabet.

A run shows a drawing of each character by one person, and asks which character each of 20 drawings
by another person is. Lake, Salakhutdinov & Tenenbaum, 2015, Human-level concept learning through
probabilistic program induction; https://github.com/brendenlake/omniglot (MIT).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metarun.data.duplicates import named
from metarun.data.preparation.archives import MEGABYTE, members
from metarun.data.preparation.download import fetch, put
from metarun.data.preparation.omniglot_images import LIMITS, content_hash, ink, present, shrink
from metarun.errors import Refused
from metarun.files import read_whole
from metarun.tasks.objectives import CLASSIFICATION

RUNS, WAYS = 20, 20
PLACE = "one-shot-classification"  # folder of the authors' repository
CHECKSUM = "sha256:437c1eeab0af8484112e1b4cc0f3d541ec727f7c47b9b202da738af9dfd6c325"
# of all drawings and labels
CONTENT = "760bf0f9851720e93196b2f6742ef7d812db3cbd7ae53468bec592db2b789595"
FILE = re.compile(
    r"(?:all_runs/)?(run\d\d/(?:class_labels\.txt|training/class\d\d\.png|test/item\d\d\.png))"
)


@dataclass(frozen=True)
class Runs:
    """The R runs, in their order.

    Attributes:
        support: (R, N, 1, 28, 28) uint8, ink 255: item n is the only one of class n.
        query: (R, N, 1, 28, 28) uint8, one of each class, in the order of their files.
        labels: (R, N) the classes of the queries.
    """

    objective = CLASSIFICATION

    support: np.ndarray
    query: np.ndarray
    labels: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one item."""
        return tuple(self.support.shape[2:])

    @property
    def sha256(self) -> str:
        digest = hashlib.sha256()
        for array in (self.support, self.query, self.labels.astype("<i8")):
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def gather(
        self, picks: Sequence[Sequence[np.ndarray]], shots: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Support x (T, N, 1, 28, 28) and y (T, N), query x and y likewise, of runs by number."""
        numbers = np.array([int(number) for (number,) in picks])
        y = np.tile(np.arange(self.labels.shape[1]), (len(numbers), 1))
        return self.support[numbers], y, self.query[numbers], self.labels[numbers]


def read_runs(root: str, url: str) -> Runs:
    """The runs from `all_runs.zip`, or the folder it unpacks to, in `root`; downloaded if missing.

    They are known by their content, whatever the container, and prepared like Omniglot's images.

    Args:
        root: folder with the authors' files; `one-shot-classification/` in it is looked at too.
        url: where the authors' files are downloaded from.
    """
    folder, url = Path(root).expanduser(), f"{url.rstrip('/')}/{PLACE}/all_runs.zip"
    source = present(folder, PLACE, "all_runs") or fetch(
        url, folder / "all_runs.zip", CHECKSUM, by_hand=put(folder, [url])
    )
    files = dict(_files(source))
    missing = [name for name in _expected() if name not in files]
    if missing:
        raise Refused(f"{source}: {len(missing)} files missing ({named(missing)})")
    drawings, labels = _decode(source, files)
    if content(drawings, labels) != CONTENT:
        raise Refused(f"{source}: not the runs of Lake et al.: some files were altered")
    support, query = (
        np.stack([_small(drawings[f"run{r:02d}/{half}"]) for r in range(1, RUNS + 1)])
        for half in ("training", "test")
    )
    return Runs(support, query, labels)


def content(drawings: Mapping[str, dict[str, np.ndarray]], labels: np.ndarray) -> str:
    """sha256 over the drawings and the labels, whatever they are packed in."""
    both = content_hash(dict(drawings)) + repr(labels.tolist())
    return hashlib.sha256(both.encode()).hexdigest()


def _decode(
    source: Path, files: Mapping[str, bytes]
) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """`run01/training` → `class01.png` → ink (105, 105) bool; and the labels (R, N)."""
    drawings: dict[str, dict[str, np.ndarray]] = {}
    labels = np.zeros((RUNS, WAYS), dtype=np.int64)
    for name in _expected():
        where = f"{source}: {name}"
        if name.endswith(".txt"):
            labels[int(name[3:5]) - 1] = answers(files[name].decode("utf-8", "replace"), where)
        else:
            half, _, file = name.rpartition("/")
            drawings.setdefault(half, {})[file] = ink(files[name], where)
    return drawings, labels


def answers(text: str, place: str) -> list[int]:
    """The class, 0 … N−1, of each test item of a run, from its `class_labels.txt`.

    Args:
        text: a line `run01/test/item01.png run01/training/class08.png` for each item.
        place: what the file is called, ending in `run01/class_labels.txt`; for messages.

    Raises:
        Refused: it is not a list of all items, each with a class of its own.
    """
    run = place.split("/")[-2][-5:]
    line = re.compile(rf"{run}/test/item(\d\d)\.png\s+{run}/training/class(\d\d)\.png")
    found = [line.fullmatch(words.strip()) for words in text.splitlines() if words.strip()]
    pairs = sorted((int(match[1]), int(match[2])) for match in found if match)
    every = list(range(1, WAYS + 1))
    items, classes = [item for item, _ in pairs], [label for _, label in pairs]
    if len(found) != len(pairs) or items != every or sorted(classes) != every:
        raise Refused(
            f"{place} should have {WAYS} lines, an item and its class in each: "
            f"{run}/test/itemNN.png {run}/training/classNN.png"
        )
    return [label - 1 for label in classes]


def _small(drawings: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, 1, 28, 28), by file name, as Omniglot's images are prepared."""
    return shrink(np.stack([drawings[file] for file in sorted(drawings)]))[:, None]


def _expected() -> Iterator[str]:
    for run in (f"run{r:02d}" for r in range(1, RUNS + 1)):
        yield f"{run}/class_labels.txt"
        yield from (f"{run}/training/class{n:02d}.png" for n in range(1, WAYS + 1))
        yield from (f"{run}/test/item{n:02d}.png" for n in range(1, WAYS + 1))


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """`run01/…` and content of each file of the runs."""
    if not source.is_dir():
        for name, found in members(source, lambda name: bool(FILE.fullmatch(name)), **LIMITS):
            yield name.removeprefix("all_runs/"), found
        return
    for name in _expected():
        try:
            yield name, read_whole(source / name, MEGABYTE)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise Refused(f"{error.filename}: cannot be read ({error.strerror})") from error
