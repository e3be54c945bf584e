"""One's own pictures: a folder of them for each class."""

from __future__ import annotations

import logging
import math
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import Annotated

from pydantic import Field, PositiveFloat

from metarun.data import class_splits
from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import named
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import Listing, listing, subfolders
from metarun.data.preparation.pixels import Span
from metarun.errors import Refused

CALLED = {  # what the folder of a split may be called, in lower case
    **{"train": "train", "training": "train"},
    **{"val": "val", "valid": "val", "validation": "val"},
    **{"test": "test", "testing": "test"},
}
LAYOUT = "it should hold a folder of pictures for each class: DIR/cat/*.jpg, DIR/dog/*.jpg, …"

log = logging.getLogger(__name__)


class ImageFolder:
    """Pictures in a folder for each class, cut to squares of one size; see `pictures.picture`.

    A class is a folder `depth` levels below `root`; all pictures in it and below are its own. Where
    `root` holds the folders `train`, `val` and `test`, the classes are below those and split as
    they say. A file may tell the split too; else it is made by `fractions` and `split_seed`.

    Args:
        root: the folder of the pictures; there is no default.
        cache: folder for the prepared array; it holds `image_folder/`.
        size: height and width of a prepared picture, in pixels.
        colour: red, green and blue; else grey.
        depth: 1 for `DIR/class/…`, 2 for `DIR/Alphabet/character/…`.
        fractions: of the classes in train, val and test, or their numbers; 2 at least in each.
        split_seed: another one makes another split.
        split_file: JSON, `{"train": [names of classes], "val": […], "test": […]}`.
        skip_broken: go on without files and classes that cannot be used, with a warning.
        pixel_range: the numbers in the files that become black and white, the same for all files;
            needed where they are signed or floating-point. By default 0 and 255; in files of 16
            bits, 0 and the largest number of the 8, 10, 12, 14 or 16 bits that hold all of them.
    """

    def __init__(
        self,
        *,
        root: str | None,
        cache: str,
        size: Annotated[int, Field(ge=8, le=1024)] = 84,
        colour: bool = True,
        depth: Annotated[int, Field(ge=1, le=8)] = 1,
        fractions: Annotated[list[PositiveFloat], Field(min_length=3, max_length=3)] = (
            *(0.6, 0.2, 0.2),
        ),
        split_seed: Annotated[int, Field(ge=0)] = 0,
        split_file: str | None = None,
        skip_broken: bool = False,
        pixel_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None,
    ) -> None:
        if not root:
            raise Refused("data.root: name the folder of your pictures: data.root=DIR")
        self.root = Path(root).expanduser()
        self.cache = Path(cache).expanduser() / "image_folder"
        self.size, self.colour, self.depth = size, colour, depth
        self.fractions, self.split_seed = fractions, split_seed
        self.split_file = split_file and Path(split_file).expanduser()
        self.skip_broken = skip_broken
        if pixel_range is not None and not -math.inf < pixel_range[0] < pixel_range[1] < math.inf:
            raise Refused(f"data.pixel_range={pixel_range}: should be [LOW,HIGH], LOW < HIGH")
        self.span = pixel_range and Span(*pixel_range, typed=True)

    def facts(self) -> dict[str, Facts | None]:
        """Classes and files of each split, by their names alone: no picture is opened.

        Raises:
            Refused: the folder is not there, or its classes cannot be split.
        """
        files = self.found.classes
        return {
            split: Facts(len(names), min((len(files[name]) for name in names), default=0))
            for split, names in self.classes.items()
        }

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all pictures.

        Raises:
            Refused: naming all files and classes that cannot be used, or the cache that cannot be
                written to.
        """
        used = {name for names in self.classes.values() for name in names}
        wanted = {name: files for name, files in self.found.classes.items() if name in used}
        if unused := [name for name in self.found.classes if name not in used]:
            log.info("in no split of %s: %s", self.split_file, named(unused))
        chosen = Listing(self.root, wanted, self.found.mistakes)
        images = picture_classes.prepare(
            self.cache, chosen, self.size, self.colour, self.skip_broken, self.span
        )
        if self.found.stray:
            log.warning("pictures that lie in no class folder: %s", named(self.found.stray))
        there = set(images.names)
        return {
            split: select(images, [name for name in names if name in there])
            for split, names in self.classes.items()
        }

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """The names of the classes of each split."""
        if self._parts:
            return {split: list(part.classes) for split, part in self._parts.items()}
        known = self.found.classes
        if self.split_file:
            return class_splits.from_file(self._split_file_there(), known)
        if len(known) < class_splits.FEWEST * len(SPLITS):
            raise Refused(
                f"data.root={self.root}: {len(known)} class{'es' * (len(known) != 1)} "
                f"({named(list(known))}), and train, val and test need {class_splits.FEWEST} each; "
                "name the folder that holds the folders of the classes, and see data.depth",
                *picture_classes.first(self.found.mistakes, self.root),
            )
        return class_splits.divide(known, self.fractions, self.split_seed)

    @cached_property
    def found(self) -> Listing:
        """All classes of `root`."""
        whole = Listing(self.root)
        for part in self._parts.values() or [listing(self.root, self.depth)]:
            whole.classes.update(part.classes)
            whole.mistakes += part.mistakes
            whole.stray += part.stray
        if not whole.classes:
            told = picture_classes.first(whole.mistakes, self.root)
            raise Refused(f"data.root={self.root}: no classes; {LAYOUT}", *told)
        return whole

    @cached_property
    def _parts(self) -> dict[str, Listing]:
        """The listing of each split that has a folder; empty if there are none."""
        if not self.root.is_dir():
            there = "not a folder" if self.root.exists() else "no such folder"
            raise Refused(f"data.root={self.root}: {there}; {LAYOUT}")
        names = subfolders(self.root)
        splits = {CALLED[name.lower()]: name for name in names if name.lower() in CALLED}
        if self.split_file or not splits or (len(splits) < 3 and len(names) > len(splits)):
            return {}
        if missing := [split for split in SPLITS if split not in splits]:
            raise Refused(
                f"data.root={self.root}: has {' and '.join(splits.values())}, and no "
                f"{' or '.join(missing)} beside; put the classes themselves into one folder, "
                "and data.fractions splits them"
            )
        if beside := [name for name in names if name not in splits.values()]:
            log.warning("%s: beside train, val and test, left alone: %s", self.root, named(beside))
        parts = {split: listing(self.root / splits[split], self.depth) for split in SPLITS}
        known = Counter(name for part in parts.values() for name in part.classes)
        if twice := sorted(name for name, times in known.items() if times > 1):
            raise Refused(
                f"data.root={self.root}: {len(twice)} classes in more than one of train, val and "
                f"test ({named(twice)}); a learner is tested on classes that it was not trained on:"
                " put all pictures of a class into DIR/class, and data.fractions splits the classes"
            )
        if empty := [split for split, part in parts.items() if not part.classes]:
            told = [line for split in empty for line in parts[split].mistakes]
            raise Refused(
                f"data.root={self.root}: no classes in {' and '.join(empty)}; {LAYOUT}",
                *picture_classes.first(told, self.root),
            )
        return parts

    def _split_file_there(self) -> Path:
        """As it was typed, or beside the pictures."""
        beside = self.root / self.split_file
        return beside if not self.split_file.exists() and beside.exists() else self.split_file
