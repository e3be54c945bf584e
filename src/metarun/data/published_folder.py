"""Published sets of pictures that everyone has to fetch: a folder for each class, a known split."""

from __future__ import annotations

import csv
import logging
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from metarun.data.class_splits import SPLITS, published_list
from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import named
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import File, Listing, pictures, subfolders
from metarun.errors import Refused

# Where the folders of classes may lie below data.root; the first that has a class is taken.
PLACES = (".", "images", "CUB_200_2011/images", "train", "val", "test")

log = logging.getLogger(__name__)


class PublishedFolder:
    """mini-ImageNet, tiered-ImageNet or CUB, by the published lists of classes in `splits/`.

    The classes are taken from their folders (`n01532829/*.jpg`) in `root` or its folders `images`,
    `train`, `val`, `test`, whichever these are: the published list says the split. Where `root` has
    `train.csv`, `val.csv` and `test.csv` (`filename,label`), the files are those, in `images`.

    Each picture is cut to its central square and scaled, see `pictures.picture`; bounding boxes, as
    CUB has them, are not used, as in Chen et al., 2019.

    Args:
        root: folder with the pictures, which cannot be downloaded for you.
        cache: folder for the prepared array; it holds a folder called as the set.
        name: which set.
        size: height and width of a prepared picture, in pixels.
    """

    def __init__(
        self,
        *,
        root: str,
        cache: str,
        name: Literal["mini_imagenet", "tiered_imagenet", "cub"],
        size: Annotated[int, Field(ge=8, le=1024)] = 84,
    ) -> None:
        self.root = Path(root).expanduser()
        self.cache = Path(cache).expanduser() / name
        self.name, self.size = name, size
        self.published: dict[str, Any] = published_list(name)
        self.wanted = [name for split in SPLITS for name in self.published[split]]
        self.steps = f"{name} cannot be downloaded for you: {self.published['steps']}"

    def facts(self) -> dict[str, Facts | None]:
        """Classes and items as published, known without the pictures."""
        smallest = self.published["smallest"]
        return {split: Facts(len(self.published[split]), smallest) for split in SPLITS}

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all pictures.

        Raises:
            Refused: classes are missing, files cannot be used, or the cache cannot be written to.
        """
        images = picture_classes.prepare(self.cache, self.found, self.size, colour=True)
        if sum(images.counts) != self.published["images"]:
            log.warning(
                "data=%s: %s has %d pictures, the published set %d; figures are not comparable",
                *(self.name, self.root, sum(images.counts), self.published["images"]),
            )
        return {split: select(images, self.published[split]) for split in SPLITS}

    @cached_property
    def found(self) -> Listing:
        """The files of all published classes.

        Raises:
            Refused: the folder or some of its classes are not there.
        """
        if not self.root.is_dir():
            raise Refused(f"data.root={self.root}: no such folder; {self.steps}")
        found = Listing(self.root)
        tables = [self.root / f"{split}.csv" for split in SPLITS]
        by_tables = all(table.is_file() for table in tables)
        there = self._in_tables(tables, found) if by_tables else self._in_folders(found)
        if missing := [name for name in self.wanted if name not in there]:
            which = f"{len(missing)} of {len(self.wanted)} classes missing ({named(missing)})"
            raise Refused(f"data.root={self.root}: {which}; {self.steps}")
        for name in sorted(self.wanted):
            found.enter(name, *there[name])
        return found

    def _in_folders(self, found: Listing) -> dict[str, tuple[str, list[File]]]:
        """Folder and files of each published class that has a folder."""
        wanted = set(self.wanted)
        places = [self.root / place for place in PLACES if (self.root / place).is_dir()]
        # The places in turn: what an earlier one has replaces the same class of a later one.
        where = {n: str(p / n) for p in reversed(places) for n in subfolders(p) if n in wanted}
        return {n: (path, pictures(path, set(), found.mistakes)) for n, path in where.items()}

    def _in_tables(self, tables: list[Path], found: Listing) -> dict[str, tuple[str, list[File]]]:
        """The table and the files of each class that the tables name."""
        folder = self.root / "images"
        there = {file.name: file for file in pictures(str(folder), set(), found.mistakes)}
        classes: dict[str, tuple[str, dict[str, File]]] = {}
        for table in tables:
            for file, label in _rows(table):
                _, files = classes.setdefault(label, (f"{table}: {label}", {}))
                if file in there:
                    files[file] = there[file]
                else:
                    found.mistakes.append(f"{folder / file}: not there, and {table.name} names it")
        return {name: (place, list(files.values())) for name, (place, files) in classes.items()}


def _rows(table: Path) -> list[tuple[str, str]]:
    """File name and label of each line below `filename,label`."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines, strict=True))
        return [(row["filename"].strip(), row["label"].strip()) for row in rows]
    except OSError as error:
        raise Refused(f"{table}: cannot be read ({error.strerror})") from error
    except (ValueError, csv.Error, KeyError, AttributeError) as error:
        raise Refused(f"{table}: is not a table of filename,label ({error})") from error
