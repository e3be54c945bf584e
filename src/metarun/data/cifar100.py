"""CIFAR-100: 60,000 colour photographs of 100 classes in 20 superclasses, 32×32 pixels.

Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html (no licence is stated there; the
report is to be cited). Its classes make two few-shot data sets: CIFAR-FS (Bertinetto et al., 2019)
and FC100 (Oreshkin et al., 2018).
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metarun.data.class_splits import SPLITS, published_list
from metarun.data.classes import Facts, Split, select
from metarun.data.preparation.archives import MEGABYTE, tar_members
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.checksums import Checksums, warn_of
from metarun.data.preparation.download import existing, fetch, put
from metarun.data.preparation.images import Class
from metarun.data.preparation.pickles import unpickle
from metarun.errors import Refused
from metarun.files import read_or_refuse

PREPARATION = 1  # raise it when the prepared array changes for equal files
ARCHIVE, FOLDER = "cifar-100-python.tar.gz", "cifar-100-python"
MD5 = "eb9058c3a382ffc7106e4002c42a8d85"  # of the official archive
MEMBERS = {  # of the three files in it
    "meta": "7973b15100ade9c7d40fb424638fde48",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "train": "16019d7e3df5f24257cddd939b257f8d",
}
PHOTOGRAPHS = 600  # of each class: 500 of `train` and 100 of `test`
SHAPE = (3, 32, 32)
LIMIT = 256 * MEGABYTE  # the longest file has 155


class Cifar100:
    """CIFAR-100 at (3, 32, 32), red, green and blue.

    The classes are named as in the archive, `apple`. Its own two portions are put together: 500
    photographs of `train`, then 100 of `test`, since few-shot splits hold out classes. The archive,
    or the folder it unpacks to, lies in `root`, or is downloaded. Files that are read are those
    three alone, as data: nothing in their pickles is called.

    Args:
        root, cache, url: as of any data set; `root` holds `cifar-100-python.tar.gz`, or the folder
            `cifar-100-python`.
        split: `cifar_fs`, 64 / 16 / 20 classes at random; `fc100`, 60 / 20 / 20 classes, no
            superclass in two splits.
    """

    def __init__(
        self,
        *,
        root: str,
        cache: str,
        split: Literal["cifar_fs", "fc100"] = "cifar_fs",
        url: str = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
    ) -> None:
        self.root = Path(root).expanduser()
        self.folder = Path(cache).expanduser() / "cifar100"
        self.classes = published(split)
        self.url = url

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, known without the images; each has 600 in the official files."""
        return {name: Facts(len(c), PHOTOGRAPHS) for name, c in self.classes.items()}

    def load(self) -> dict[str, Split]:
        """The three splits; the first call reads 60,000 images, for seconds.

        Other files of the same form are taken too, with a warning.

        Raises:
            Refused: files are missing or broken, or the cache cannot be written to.
        """
        advice = put(self.root, [self.url])
        existing(self.root, self.folder.parent, advice)
        files, sums = self._present(), Checksums(self.folder)
        found = {path.name: sums.of(path) for path in files}
        official = found in ({}, {ARCHIVE: MD5}, MEMBERS)
        key = MD5 if official else " ".join(f"{name}:{md5}" for name, md5 in sorted(found.items()))

        def make() -> Iterator[Class]:
            archive = self.root / ARCHIVE
            return self._prepare(files or [fetch(self.url, archive, f"md5:{MD5}", by_hand=advice)])

        images = prepared(self.folder, f"cifar100 {key} {PREPARATION}", make)
        sums.keep(files)
        if not official:
            warn_of(self.root, "files of CIFAR-100")
        return {name: select(images, names) for name, names in self.classes.items()}

    def _present(self) -> list[Path]:
        """The archive, or the three files of its folder; nothing if neither is there."""
        archive, folder = self.root / ARCHIVE, self.root / FOLDER
        try:
            if archive.is_file():
                return [archive]
            if self.root.name == FOLDER and not folder.exists():
                folder = self.root
            missing = [name for name in MEMBERS if not (folder / name).is_file()]
            if missing and folder.exists():
                raise Refused(f"{folder}: lacks {', '.join(missing)} of CIFAR-100's files")
            return [] if missing else [folder / name for name in MEMBERS]
        except OSError as error:
            raise Refused(f"data.root={self.root}: cannot be read ({error.strerror})") from error

    def _prepare(self, files: list[Path]) -> Iterator[Class]:
        contents = dict(_unpickled(files))
        if missing := [f"{FOLDER}/{name}" for name in MEMBERS if name not in contents]:
            raise Refused(f"{files[0]}: lacks {', '.join(missing)}")
        where, meta = contents["meta"]
        names = meta.get("fine_label_names")
        expected = sorted(name for names in self.classes.values() for name in names)
        if not isinstance(names, list) or names != expected:
            raise Refused(f"{where}: fine_label_names are not the 100 class names of CIFAR-100")
        portions = {name: _portion(*contents[name]) for name in ("train", "test")}
        for label, name in enumerate(names):
            chosen = {p: np.flatnonzero(labels == label) for p, (_, labels) in portions.items()}
            items = np.concatenate([portions[p][0][rows] for p, rows in chosen.items()])
            yield Class(name, items, [f"{p}/{row}" for p, rows in chosen.items() for row in rows])


def published(split: str) -> dict[str, list[str]]:
    """Class names of `train`, `val` and `test` in a published split."""
    domains = published_list(split)
    return {name: [c for some in domains[name].values() for c in some] for name in SPLITS}


def _unpickled(files: list[Path]) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    """Name of each of `MEMBERS` → where it lies, and the dictionary in it."""
    wanted = {f"{start}{FOLDER}/{name}" for start in ("", "./") for name in MEMBERS}
    for file in files:
        if file.name == ARCHIVE:
            limits = {"member_limit": LIMIT, "total_limit": 2 * LIMIT}
            found = tar_members(file, wanted.__contains__, **limits)
        else:
            found = [(file.name, read_or_refuse(file, LIMIT))]
        for path, content in found:
            name = path.rpartition("/")[2]
            where = f"{file}: {FOLDER}/{name}" if file.name == ARCHIVE else str(file)
            try:
                yield name, (where, unpickle(content))
            except ValueError as error:
                raise Refused(f"{where}: not a file of CIFAR-100 ({error})") from error


def _portion(where: str, content: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Images (n, 3, 32, 32) uint8 and labels (n) of `train` or `test`."""
    data, labels = content.get("data"), content.get("fine_labels")
    if isinstance(labels, np.ndarray) and labels.ndim == 1:
        labels = labels.tolist()
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.shape[1:] != (3072,):
        raise Refused(f"{where}: its data are not images of 3,072 bytes (3×32×32)")
    if not isinstance(labels, list) or any(type(n) is not int or not 0 <= n < 100 for n in labels):
        raise Refused(f"{where}: its fine_labels are not a list of numbers from 0 to 99")
    if len(labels) != len(data):
        raise Refused(f"{where}: {len(labels)} labels of {len(data)} images")
    return data.reshape(-1, *SHAPE), np.array(labels, dtype=np.int64)
