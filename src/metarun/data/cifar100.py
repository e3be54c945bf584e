"""CIFAR-100: 60,000 colour photographs of 100 classes in 20 superclasses, 32×32 pixels.

Krizhevsky, 2009, https://www.cs.toronto.edu/~kriz/cifar.html (states no licence, asks to cite the
report). Two few-shot data sets are made from it: CIFAR-FS (Bertinetto et al., 2019) and FC100
(Oreshkin et al., 2018).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metarun.config.schema import Place
from metarun.data.class_splits import SPLITS, published_list
from metarun.data.classes import Facts, Split, select
from metarun.data.preparation.archives import MEGABYTE, tar_members
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.checksums import Checksums, warn_of
from metarun.data.preparation.download import fetch, put_advice, require_root
from metarun.data.preparation.images import Class
from metarun.data.preparation.pickles import unpickle
from metarun.data.preparation.pictures import read_pictures
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.data.preparation.unpacked import unpacked
from metarun.errors import Refused, refusing_os_errors
from metarun.files import read_or_refuse

PREPARATION = 1  # increase it when the array prepared from the same files changes
ARCHIVE, FOLDER = "cifar-100-python.tar.gz", "cifar-100-python"
MD5 = "eb9058c3a382ffc7106e4002c42a8d85"  # of the official archive
MEMBERS = {  # MD5 of the three files in it
    "meta": "7973b15100ade9c7d40fb424638fde48",
    "test": "f0ef6b0ae62326f3e7ffdfab6717acfc",
    "train": "16019d7e3df5f24257cddd939b257f8d",
}
PHOTOGRAPHS = 600  # per class: 500 of `train` and 100 of `test`
SHAPE = (3, 32, 32)
LIMIT = 256 * MEGABYTE  # per file; the largest has 155 MB


class Cifar100:
    """CIFAR-100 at (3, 32, 32), RGB.

    Classes have the names in the archive, e.g. `apple`. Few-shot splits hold out classes, so each
    class pools both official portions: 500 photographs of `train`, then 100 of `test`. The pickles
    are read as data only: nothing in them is called.

    Args:
        root, cache, url: see `metarun.data`; `root` holds `cifar-100-python.tar.gz` or the unpacked
            folder `cifar-100-python`; if it holds neither, the archive is downloaded.
        split: `cifar_fs`, 64 / 16 / 20 random classes; `fc100`, 60 / 20 / 20 classes, with all
            classes of a superclass in the same split.
    """

    own_items = "pictures"

    def __init__(
        self,
        *,
        root: Place,
        cache: Place,
        split: Literal["cifar_fs", "fc100"] = "cifar_fs",
        url: str = f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",
    ) -> None:
        self.root = unpacked(root)
        self.folder = Path(cache).expanduser() / "cifar100"
        self.classes = published(split)
        self.url = url

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split and images per class in the official files; reads no file."""
        return {name: Facts(len(c), PHOTOGRAPHS) for name, c in self.classes.items()}

    def load(self) -> dict[str, Split]:
        """The three splits; the first call reads 60,000 images, which takes seconds.

        Files of the same form with other content are accepted with a warning.

        Raises:
            Refused: files are missing or damaged, or the cache is not writable.
        """
        advice = put_advice(self.root, [self.url])
        require_root(self.root, self.folder.parent, advice)
        files, sums = self._present(), Checksums(self.folder)
        md5s = {path.name: sums.of(path) for path in files}
        official = md5s in ({}, {ARCHIVE: MD5}, MEMBERS)
        key = MD5 if official else " ".join(f"{name}:{md5}" for name, md5 in sorted(md5s.items()))

        def make() -> Iterator[Class]:
            archive = self.root / ARCHIVE
            return self._prepare(files or [fetch(self.url, archive, f"md5:{MD5}", by_hand=advice)])

        images = prepared(self.folder, f"cifar100 {key} {PREPARATION}", make, root=self.root)
        sums.keep(files)
        if not official:
            warn_of(self.root, "files of CIFAR-100")
        return {name: select(images, names) for name, names in self.classes.items()}

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: (3, 32, 32) uint8."""
        return read_pictures(files, SHAPE[1], True, span)

    def _present(self) -> list[Path]:
        """The archive, or the three files of its folder; empty if `root` holds neither."""
        archive, folder = self.root / ARCHIVE, self.root / FOLDER
        with refusing_os_errors(f"data.root={self.root}"):
            if archive.is_file():
                return [archive]
            if self.root.name == FOLDER and not folder.exists():
                folder = self.root
            missing = [name for name in MEMBERS if not (folder / name).is_file()]
            if missing and folder.exists():
                raise Refused(f"{folder}: lacks {', '.join(missing)} of CIFAR-100's files")
            return [] if missing else [folder / name for name in MEMBERS]

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
    """Class names of `train`, `val` and `test` in the published split `split`."""
    domains = published_list(split)
    return {name: [c for names in domains[name].values() for c in names] for name in SPLITS}


def _unpickled(files: list[Path]) -> Iterator[tuple[str, tuple[str, dict[str, Any]]]]:
    """Name of each of `MEMBERS`, with its place for messages and its unpickled dictionary."""
    paths = {f"{start}{FOLDER}/{name}" for start in ("", "./") for name in MEMBERS}
    for file in files:
        if file.name == ARCHIVE:
            limits = {"member_limit": LIMIT, "total_limit": 2 * LIMIT}
            contents = tar_members(file, paths.__contains__, **limits)
        else:
            contents = [(file.name, read_or_refuse(file, LIMIT))]
        for path, content in contents:
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
