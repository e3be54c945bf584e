"""Files of the user in one folder per class, and the split of these classes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat

from metarun.config.schema import Place
from metarun.data.class_splits import SPLITS, split_classes
from metarun.data.classes import Facts
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import Depth, Listing, list_classes
from metarun.data.preparation.kinds import Kind
from metarun.data.preparation.split_folders import joined_folders, split_folders
from metarun.data.preparation.unpacked import unpacked
from metarun.errors import Refused

Name = Annotated[str, Field(min_length=1, max_length=80)]
Fractions = Annotated[list[NonNegativeFloat], Field(min_length=3, max_length=3)]


class OwnFolder:
    """Base class of data sets whose classes are folders.

    A class is a folder `depth` levels below `root`, with all files in it and its subfolders; with
    `leaf`, each folder that holds files itself. The split is defined by `split_file`; or, if `root`
    has the folders `train`, `val` and `test`, or `test` alone, by these, with the class folders
    `depth` levels below them; or by `fractions` and `split_seed`.

    Args:
        root: the folder of the files.
        depth: 1 for `DIR/class/…`, 2 for `DIR/Alphabet/character/…`, or `leaf`.
        join: whether folders of one name in `train`, `val` and `test` form one class.
        fractions: of classes in train, val and test, or numbers of classes; at least 2 in each, or
            none.
        split_seed: seed of the random split.
        split_file: JSON file, `{"train": [names of classes], "val": […], "test": […]}`.
    """

    kind: ClassVar[Kind]

    def __init__(
        self,
        root: Place | None,
        depth: Depth,
        join: bool,
        fractions: Sequence[float],
        split_seed: int,
        split_file: Place | None,
    ) -> None:
        if not root:
            raise Refused(f"data.root: name the folder of your {self.kind.noun}s: data.root=DIR")
        self.root = unpacked(root)
        self.depth, self.join = depth, join
        self.fractions, self.split_seed = fractions, split_seed
        self.split_file = split_file and Path(split_file).expanduser()

    def facts(self) -> dict[str, Facts | None]:
        """Classes and files of each split, from file names only: no file is opened.

        Raises:
            Refused: the folder is missing, or its classes cannot be split.
        """
        files = self.listing.classes
        return {
            split: Facts.of({name: len(files[name]) for name in names})
            for split, names in self.classes.items()
        }

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Class names of each split."""
        if self._parts:
            return {split: list(part.classes) for split, part in self._parts.items()}
        names = list(self.listing.classes)
        try:
            settings = (self.fractions, self.split_seed, self.split_file and self._split_path())
            return split_classes(names, *settings, source=f"data.root={self.root}")
        except Refused as refused:
            if self.split_file or len(names) >= 2 * len(SPLITS):
                raise
            first, *others = refused.mistakes
            hint = "; data.root should hold the class folders (see data.depth)"
            mistakes = picture_classes.first(self.listing.mistakes, self.root)
            raise Refused(first + hint, *others, *mistakes) from None

    @cached_property
    def listing(self) -> Listing:
        """All classes of `root`."""
        total = Listing(self.root, kind=self.kind)
        for part in self._parts.values() or [self._whole()]:
            total.classes.update(part.classes)
            total.mistakes += part.mistakes
            total.stray += part.stray
        if not total.classes:
            mistakes = picture_classes.first(total.mistakes, self.root)
            raise Refused(f"data.root={self.root}: no classes; {self.kind.layout}", *mistakes)
        return total

    @cached_property
    def _parts(self) -> dict[str, Listing]:
        """The listing of each split folder; empty if the folders do not define the split."""
        whole = self.join or bool(self.split_file)
        return split_folders(self.root, self.depth, self.kind, whole)

    def _whole(self) -> Listing:
        of = joined_folders if self.join else list_classes
        return of(self.root, self.depth, self.kind)

    def _split_path(self) -> Path:
        """`split_file`, relative to the working directory or else to `root`."""
        in_root = self.root / self.split_file
        return in_root if not self.split_file.exists() and in_root.exists() else self.split_file
