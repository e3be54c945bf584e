"""Your own features with labels, in an `.npz` file."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
from pydantic import NonNegativeInt

from metarun.config.schema import Place
from metarun.data.class_splits import split_classes
from metarun.data.classes import Facts, Split, select
from metarun.data.own_folder import Fractions, Name
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.images import Class
from metarun.data.preparation.npz import array, header
from metarun.data.preparation.pixels import Broken
from metarun.errors import Refused, refusing_os_errors

PREPARATION = 1  # increase it when the array prepared from the same file changes


class Vectors:
    """Rows of an array of numbers, as float32; a class is all rows of one label.

    Args:
        file: the file; there is no default.
        features: name of the array of items, (n, features).
        labels: name of the array of labels, (n) whole numbers or text.
        name: name of the set in tables, titles and results; by default that of the file.
        cache: folder of prepared data sets; the array is kept in its subfolder `vectors`.
        fractions, split_seed, split_file: see `metarun.data.class_splits.split_classes`.
    """

    own_items = "vectors"

    def __init__(
        self,
        *,
        file: Place | None,
        features: Name = "x",
        labels: Name = "y",
        name: Name | None = None,
        cache: Place,
        fractions: Fractions = (0.6, 0.2, 0.2),
        split_seed: NonNegativeInt = 0,
        split_file: Place | None = None,
    ) -> None:
        if not file:
            raise Refused("data.file: name the file of your features: data.file=FILE.npz")
        self.file, self.features, self.labels = Path(file).expanduser(), features, labels
        self.folder = Path(cache).expanduser() / "vectors"
        self.fractions, self.split_seed, self.split_file = fractions, split_seed, split_file

    def facts(self) -> dict[str, Facts | None]:
        """Classes and items of each split, from the labels.

        Raises:
            Refused: the file is missing or not of this form, or its classes cannot be split.
        """
        return {
            split: Facts.of({name: len(self.rows[name]) for name in names})
            for split, names in self.classes.items()
        }

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all features.

        Raises:
            Refused: as in `facts`, a value is not finite, or the cache is not writable.
        """
        with refusing_os_errors(f"data.file={self.file}"):
            state = self.file.stat()
        place = f"{self.file.resolve()}\n{self.features} {self.labels}"
        folder = hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()[:12]
        key = f"vectors {PREPARATION} {state.st_size} {state.st_mtime_ns}"
        items = prepared(self.folder / folder, key, self._read, root=self.file)
        return {split: select(items, names) for split, names in self.classes.items()}

    def prepare_own(
        self, sources: Sequence[str], width: int | None = None
    ) -> list[np.ndarray | Broken]:
        """Rows `FILE.npz[3]` of the array of features in other files, (features) float32.

        Args:
            width: the number of values that they should have.
        """
        found: list[np.ndarray | Broken] = []
        for source in sources:
            file, _, row = source.removesuffix("]").rpartition("[")
            item = _stored(file, self.features, Path(file).stat().st_mtime_ns)[int(row)]
            if width is not None and len(item) != width:
                item = Broken(f"{len(item)} features; the support has {width}")
            found.append(item)
        return found

    @property
    def columns(self) -> tuple[str, str]:
        """Names of the arrays of features and labels, also in files of the user."""
        return self.features, self.labels

    @cached_property
    def rows(self) -> dict[str, np.ndarray]:
        """The positions of the items of each class."""
        return rows_of(self.file, self.features, self.labels, f"data.file={self.file}")

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Class names of each split."""
        settings = (self.fractions, self.split_seed, self.split_file)
        return split_classes(self.rows, *settings, source=f"data.file={self.file}")

    def _read(self) -> Iterator[Class]:
        items = matrix(self.file, self.features)
        for name, rows in self.rows.items():
            yield Class(name, items[rows], [str(row) for row in rows])


def rows_of(file: Path, features: str, labels: str, typed: str) -> dict[str, np.ndarray]:
    """The positions of the items of each label, by its name.

    Raises:
        Refused: the file lacks one of the arrays, or they do not fit each other.
    """
    info, of_labels = header(file, features), header(file, labels)
    if len(info.shape) != 2 or info.dtype.kind == "U":
        raise Refused(f"{typed}: {features} is {info}; should be numbers (items, features)")
    if of_labels.dtype.kind not in "iuU" or of_labels.shape != info.shape[:1]:
        raise Refused(
            f"{typed}: {labels} is {of_labels}; should be whole numbers or text ({info.shape[0]},)"
        )
    y = array(file, labels)
    names, numbers = np.unique(y, return_inverse=True)
    return {str(name): np.flatnonzero(numbers == c) for c, name in enumerate(names.tolist())}


def matrix(file: Path, features: str) -> np.ndarray:
    """The array of features, (items, features) float32.

    Raises:
        Refused: it has another form, or a value is not finite.
    """
    info = header(file, features)
    if len(info.shape) != 2 or info.dtype.kind == "U":
        raise Refused(f"{file}: {features} is {info}; should be numbers (items, features)")
    items = array(file, features).astype(np.float32)
    if len(broken := np.flatnonzero(~np.isfinite(items).all(1))):
        raise Refused(f"{file}: row {broken[0]} of {features} has values that are not finite")
    return items


@lru_cache(maxsize=4)
def _stored(file: str, features: str, mtime_ns: int) -> np.ndarray:
    """The array of features of a file in this state."""
    return matrix(Path(file), features)
