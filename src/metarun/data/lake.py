"""The one-shot challenge of Omniglot's authors: 20 runs, each of 20 characters of one alphabet.

The support set of a run has a drawing of each character by one person, the query set 20 drawings by
another person. Lake, Salakhutdinov & Tenenbaum, 2015, Human-level concept learning through
probabilistic program induction; https://github.com/brendenlake/omniglot (MIT).
"""

from __future__ import annotations

import contextlib
import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from metarun.data.duplicates import named
from metarun.data.preparation.archives import MEGABYTE, members
from metarun.data.preparation.download import fetch, put_advice
from metarun.data.preparation.omniglot_images import LIMITS, content_hash, ink, present, shrink
from metarun.errors import Refused, refusing_os_errors
from metarun.files import read_whole
from metarun.tasks.objectives import CLASSIFICATION

RUNS, WAYS = 20, 20
PLACE = "one-shot-classification"  # folder in the authors' repository
CHECKSUM = "sha256:437c1eeab0af8484112e1b4cc0f3d541ec727f7c47b9b202da738af9dfd6c325"
# `content` of all drawings and labels
CONTENT = "760bf0f9851720e93196b2f6742ef7d812db3cbd7ae53468bec592db2b789595"
FILE = re.compile(
    r"(?:all_runs/)?(run\d\d/(?:class_labels\.txt|training/class\d\d\.png|test/item\d\d\.png))"
)


@dataclass(frozen=True)
class Runs:
    """The R runs, in order.

    Attributes:
        support: (R, N, 1, 28, 28) uint8, ink 255; item n is the only one of class n.
        query: (R, N, 1, 28, 28) uint8, one item of each class, in file order.
        labels: (R, N) classes of the query items.
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
        """Hash of all items and labels."""
        digest = hashlib.sha256()
        for array in (self.support, self.query, self.labels.astype("<i8")):
            digest.update(repr(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def gather(
        self, picks: Sequence[Sequence[np.ndarray]], shots: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Support x (T, N, 1, 28, 28), y (T, N) and query x, y alike; a pick is (run number,)."""
        numbers = np.array([int(number) for (number,) in picks])
        y = np.tile(np.arange(self.labels.shape[1]), (len(numbers), 1))
        return self.support[numbers], y, self.query[numbers], self.labels[numbers]


def read_runs(root: str, url: str) -> Runs:
    """Read the runs from `all_runs.zip` or the unpacked folder; downloads the archive if missing.

    The files are verified by the hash of their content and prepared like Omniglot's images.

    Args:
        root: folder that has the files itself or in its subfolder `one-shot-classification`.
        url: address of the authors' files.

    Raises:
        Refused: files are missing, altered or damaged, or cannot be downloaded.
    """
    folder, url = Path(root).expanduser(), f"{url.rstrip('/')}/{PLACE}/all_runs.zip"
    source = present(folder, PLACE, "all_runs") or fetch(
        url, folder / "all_runs.zip", CHECKSUM, by_hand=put_advice(folder, [url])
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
    """sha256 of drawings and labels, independent of the container."""
    text = content_hash(dict(drawings)) + repr(labels.tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def _decode(
    source: Path, files: Mapping[str, bytes]
) -> tuple[dict[str, dict[str, np.ndarray]], np.ndarray]:
    """Drawings, `run01/training` → `class01.png` → ink (105, 105) bool, and labels (R, N)."""
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
    """Parse `class_labels.txt`: the class, 0 … N−1, of each test item of a run.

    Args:
        text: a line `run01/test/item01.png run01/training/class08.png` for each item.
        place: the file in error messages, ending in `run01/class_labels.txt`.

    Raises:
        Refused: the lines do not assign a different class to each of the N items.
    """
    run = place.split("/")[-2][-5:]
    line = re.compile(rf"{run}/test/item(\d\d)\.png\s+{run}/training/class(\d\d)\.png")
    matches = [line.fullmatch(row.strip()) for row in text.splitlines() if row.strip()]
    pairs = sorted((int(match[1]), int(match[2])) for match in matches if match)
    numbers = list(range(1, WAYS + 1))
    items, classes = [item for item, _ in pairs], [label for _, label in pairs]
    if len(matches) != len(pairs) or items != numbers or sorted(classes) != numbers:
        raise Refused(
            f"{place} should have {WAYS} lines, an item and its class in each: "
            f"{run}/test/itemNN.png {run}/training/classNN.png"
        )
    return [label - 1 for label in classes]


def _small(drawings: Mapping[str, np.ndarray]) -> np.ndarray:
    """(N, 1, 28, 28), sorted by file name and prepared like Omniglot's images."""
    return shrink(np.stack([drawings[file] for file in sorted(drawings)]))[:, None]


def _expected() -> Iterator[str]:
    """Paths of all files of the runs."""
    for run in (f"run{r:02d}" for r in range(1, RUNS + 1)):
        yield f"{run}/class_labels.txt"
        yield from (f"{run}/training/class{n:02d}.png" for n in range(1, WAYS + 1))
        yield from (f"{run}/test/item{n:02d}.png" for n in range(1, WAYS + 1))


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Path, `run01/…`, and content of each file of the runs."""
    if not source.is_dir():
        for name, content in members(source, lambda name: bool(FILE.fullmatch(name)), **LIMITS):
            yield name.removeprefix("all_runs/"), content
        return
    for name in _expected():
        with refusing_os_errors(source / name), contextlib.suppress(FileNotFoundError):
            yield name, read_whole(source / name, MEGABYTE)
