"""Your own pictures, with one folder per class."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field, PositiveFloat

from metarun.config.schema import Place
from metarun.data import class_splits
from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import named
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import LAYOUT, Listing, list_classes
from metarun.data.preparation.pictures import read_pictures
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.data.preparation.split_folders import split_folders
from metarun.data.preparation.unpacked import unpacked
from metarun.errors import Refused

log = logging.getLogger(__name__)


class ImageFolder:
    """Pictures in one folder per class, cropped to squares of one size; see `pictures.picture`.

    A class is a folder `depth` levels below `root`, with all pictures in it and its subfolders. The
    split is defined by `split_file`; or, if `root` has the folders `train`, `val` and `test`, by
    these, with the class folders `depth` levels below them; or by `fractions` and `split_seed`.

    Args:
        root: the folder of the pictures; there is no default.
        name: name of the set in tables, titles and results; by default that of the folder.
        cache: folder of prepared data sets; the array is kept in its subfolder `image_folder`.
        size: height and width of a prepared picture, in pixels.
        colour: RGB if true, else grey.
        depth: 1 for `DIR/class/…`, 2 for `DIR/Alphabet/character/…`.
        fractions: of classes in train, val and test, or numbers of classes; at least 2 in each.
        split_seed: seed of the random split.
        split_file: JSON file, `{"train": [names of classes], "val": […], "test": […]}`.
        skip_broken: whether to leave out unusable files and classes, with a warning.
        pixel_range: pixel values of black and white, the same for all files; required for signed
            and floating-point values. By default 0 and 255; for 16-bit files, 0 and the maximum
            of the smallest bit depth of 8, 10, 12, 14 and 16 that holds all their values.
    """

    own_items = "pictures"

    def __init__(
        self,
        *,
        root: Place | None,
        name: Annotated[str, Field(min_length=1, max_length=80)] | None = None,
        cache: Place,
        size: Annotated[int, Field(ge=8, le=1024)] = 84,
        colour: bool = True,
        depth: Annotated[int, Field(ge=1, le=8)] = 1,
        fractions: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)] = (
            0.6,
            0.2,
            0.2,
        ),
        split_seed: Annotated[int, Field(ge=0)] = 0,
        split_file: Place | None = None,
        skip_broken: bool = False,
        pixel_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None,
    ) -> None:
        if not root:
            raise Refused("data.root: name the folder of your pictures: data.root=DIR")
        self.root = unpacked(root)
        self.cache = Path(cache).expanduser() / "image_folder"
        self.size, self.colour, self.depth = size, colour, depth
        self.fractions, self.split_seed = fractions, split_seed
        self.split_file = split_file and Path(split_file).expanduser()
        self.skip_broken = skip_broken
        if pixel_range is not None and not -math.inf < pixel_range[0] < pixel_range[1] < math.inf:
            raise Refused(f"data.pixel_range={pixel_range}: should be [LOW,HIGH], LOW < HIGH")
        self.span = pixel_range and Span(*pixel_range, typed=True)

    def facts(self) -> dict[str, Facts | None]:
        """Classes and files of each split, from file names only: no picture is opened.

        Raises:
            Refused: the folder is missing, or its classes cannot be split.
        """
        files = self.listing.classes
        return {
            split: Facts.of({name: len(files[name]) for name in names})
            for split, names in self.classes.items()
        }

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all pictures.

        Raises:
            Refused: with a line for each unusable file and class, or the cache is not writable.
        """
        used = {name for names in self.classes.values() for name in names}
        classes = {name: files for name, files in self.listing.classes.items() if name in used}
        if unused := [name for name in self.listing.classes if name not in used]:
            log.info("classes in no split of %s: %s", self.split_file, named(unused))
        chosen = Listing(self.root, classes, self.listing.mistakes)
        images = picture_classes.prepare(
            self.cache, chosen, self.size, self.colour, self.skip_broken, self.span
        )
        if self.listing.stray:
            log.warning("pictures outside class folders, ignored: %s", named(self.listing.stray))
        prepared = set(images.names)
        return {
            split: select(images, [name for name in names if name in prepared])
            for split, names in self.classes.items()
        }

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: (C, size, size) uint8; see `metarun.data`."""
        return read_pictures(files, self.size, self.colour, self.span or span)

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Class names of each split."""
        if self._parts:
            return {split: list(part.classes) for split, part in self._parts.items()}
        names = list(self.listing.classes)
        if self.split_file:
            return class_splits.from_file(self._split_path(), names)
        if len(names) < class_splits.MIN_CLASSES * len(SPLITS):
            raise Refused(
                f"data.root={self.root}: {len(names)} class{'es' * (len(names) != 1)} "
                f"({named(names)}), and train, val and test need {class_splits.MIN_CLASSES} each; "
                "data.root should hold the class folders (see data.depth)",
                *picture_classes.first(self.listing.mistakes, self.root),
            )
        return class_splits.divide(names, self.fractions, self.split_seed)

    @cached_property
    def listing(self) -> Listing:
        """All classes of `root`."""
        total = Listing(self.root)
        for part in self._parts.values() or [list_classes(self.root, self.depth)]:
            total.classes.update(part.classes)
            total.mistakes += part.mistakes
            total.stray += part.stray
        if not total.classes:
            mistakes = picture_classes.first(total.mistakes, self.root)
            raise Refused(f"data.root={self.root}: no classes; {LAYOUT}", *mistakes)
        return total

    @cached_property
    def _parts(self) -> dict[str, Listing]:
        """The listing of each split folder; empty if the folders do not define the split."""
        return split_folders(self.root, self.depth, whole=bool(self.split_file))

    def _split_path(self) -> Path:
        """`split_file`, relative to the working directory or else to `root`."""
        in_root = self.root / self.split_file
        return in_root if not self.split_file.exists() and in_root.exists() else self.split_file
