"""Published sets of pictures that users must obtain themselves, with published splits."""

from __future__ import annotations

import csv
import logging
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from metarun.config.schema import Place
from metarun.data.class_splits import SPLITS, published_list
from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import named
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import File, Listing, files_in, subfolders
from metarun.data.preparation.pictures import read_pictures
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.data.preparation.unpacked import unpacked
from metarun.errors import Refused, refusing_os_errors

# Folders below data.root that may hold class folders; for each class, the first match is used.
PLACES = (".", "images", "CUB_200_2011/images", "train", "val", "test")

log = logging.getLogger(__name__)


class PublishedFolder:
    """mini-ImageNet, tiered-ImageNet or CUB, split by the published lists of classes in `splits/`.

    Class folders (`n01532829/*.jpg`) are looked for in `root` and in its folders `images`, `train`,
    `val` and `test`; only the published list decides the split of a class. If `root` has
    `train.csv`, `val.csv` and `test.csv` (`filename,label`), they list the files, in `images`.

    Each picture is cropped to its central square and scaled, see `pictures.picture`. The bounding
    boxes of CUB are not used, as in Chen et al., 2019.

    Args:
        root: folder of the pictures; they cannot be downloaded automatically.
        cache: folder of prepared data sets; the array is kept in its subfolder `name`.
        name: name of the set.
        size: height and width of a prepared picture, in pixels.
    """

    own_items = "pictures"

    def __init__(
        self,
        *,
        root: Place,
        cache: Place,
        name: Literal["mini_imagenet", "tiered_imagenet", "cub"],
        size: Annotated[int, Field(ge=8, le=1024)] = 84,
    ) -> None:
        self.root = unpacked(root)
        self.cache = Path(cache).expanduser() / name
        self.name, self.size = name, size
        self.published: dict[str, Any] = published_list(name)
        self.class_names = [name for split in SPLITS for name in self.published[split]]
        self.advice = f"{name} cannot be downloaded for you: {self.published['steps']}"

    def facts(self) -> dict[str, Facts | None]:
        """Published number of classes and of items in the smallest class; reads no file."""
        smallest = self.published["smallest"]
        return {split: Facts(len(self.published[split]), smallest) for split in SPLITS}

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all pictures.

        Raises:
            Refused: classes are missing, files are unusable, or the cache is not writable.
        """
        images = picture_classes.prepare(self.cache, self.listing, self.size, colour=True)
        if sum(images.counts) != self.published["images"]:
            log.warning(
                "data=%s: %s has %d pictures, the published set %d; results are not comparable",
                self.name,
                self.root,
                sum(images.counts),
                self.published["images"],
            )
        return {split: select(images, self.published[split]) for split in SPLITS}

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: (3, size, size) uint8."""
        return read_pictures(files, self.size, True, span)

    @cached_property
    def listing(self) -> Listing:
        """The files of all published classes.

        Raises:
            Refused: the folder or some of the classes are missing.
        """
        if not self.root.is_dir():
            raise Refused(f"data.root={self.root}: no such folder; {self.advice}")
        listing = Listing(self.root)
        tables = [self.root / f"{split}.csv" for split in SPLITS]
        by_tables = all(table.is_file() for table in tables)
        classes = self._in_tables(tables, listing) if by_tables else self._in_folders(listing)
        if missing := [name for name in self.class_names if name not in classes]:
            which = f"{len(missing)} of {len(self.class_names)} classes missing ({named(missing)})"
            raise Refused(f"data.root={self.root}: {which}; {self.advice}")
        for name in sorted(self.class_names):
            listing.add(name, *classes[name])
        return listing

    def _in_folders(self, listing: Listing) -> dict[str, tuple[str, list[File]]]:
        """Class → its folder and files, for each published class that has a folder."""
        published = set(self.class_names)
        places = [self.root / place for place in PLACES if (self.root / place).is_dir()]
        # In reverse order, so that earlier places take precedence.
        folders = {n: str(p / n) for p in reversed(places) for n in subfolders(p) if n in published}
        return {n: (path, files_in(path, set(), listing.mistakes)) for n, path in folders.items()}

    def _in_tables(self, tables: list[Path], listing: Listing) -> dict[str, tuple[str, list[File]]]:
        """Class → its place for messages and its files, for each class in the tables."""
        folder = self.root / "images"
        present = {file.name: file for file in files_in(str(folder), set(), listing.mistakes)}
        classes: dict[str, tuple[str, dict[str, File]]] = {}
        for table in tables:
            for file, label in _rows(table):
                _, files = classes.setdefault(label, (f"{table}: {label}", {}))
                if file in present:
                    files[file] = present[file]
                else:
                    listing.mistakes.append(f"{folder / file}: missing, but listed in {table.name}")
        return {name: (place, list(files.values())) for name, (place, files) in classes.items()}


def _rows(table: Path) -> list[tuple[str, str]]:
    """File name and label of each row of a table with the header `filename,label`."""
    try:
        with refusing_os_errors(table), table.open(newline="", encoding="utf-8-sig") as lines:
            rows = list(csv.DictReader(lines, strict=True))
        return [(row["filename"].strip(), row["label"].strip()) for row in rows]
    except (ValueError, csv.Error, KeyError, AttributeError) as error:
        raise Refused(f"{table}: is not a table of filename,label ({error})") from error
