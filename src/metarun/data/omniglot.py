"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each.

Lake, Salakhutdinov & Tenenbaum, 2015, https://github.com/brendenlake/omniglot (MIT).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from metarun.config.schema import Place
from metarun.data.class_splits import SPLITS, published_list
from metarun.data.classes import Facts, Spin, Split, select
from metarun.data.duplicates import counted
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.download import fetch, put_advice, require_root
from metarun.data.preparation.images import Class
from metarun.data.preparation.omniglot_images import (
    SIDE,
    content_hash,
    decode,
    nearest,
    present,
    shrink,
)
from metarun.data.preparation.pictures import read_pictures
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.data.preparation.unpacked import unpacked
from metarun.errors import Refused

PREPARATION = 1  # increase it when the array prepared from the same files changes
ARCHIVES = {  # MD5 of the official archives, for downloads only: others hold the same images
    "images_background": "md5:68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "md5:6b91aef0f799c5bb55b94e3f2daec811",
}
# content_hash of the whole data set
CONTENT = "0ee83dbd9563c52640f85677dccd80dc9d8149a39b9ee2ca7f8237b9b4e1bc21"
DRAWINGS = 20  # per class
Rotations = Literal["classes", "episode", "task", "none"]
SPINS: dict[str, Spin] = {"episode": "class", "task": "task"}


class Omniglot:
    """Omniglot at (1, 28, 28), ink 255 on a background of 0.

    Classes have the names in the archives, e.g. `Greek/character01`. The images are read from the
    two official zip files, or the unpacked folders, in `root`; missing ones are downloaded. They
    are verified by the hash of their content, so other containers are accepted.

    Args:
        root, cache, url: see `metarun.data`.
        split: the numbers are characters in train / val / test:
            `vinyals`, 1,028 / 172 / 423 (Vinyals et al., 2016), with one alphabet in two splits;
            `background_evaluation`, 792 / 172 / 659, the split of the authors: test is the 20
            evaluation alphabets; val is 5 of the 30 background alphabets, the same as in `vinyals`;
            `alphabets`, 894 / 186 / 543, whole alphabets of all 50, with related scripts in the
            same split: test is the 14 Brahmic scripts.
        rotations: `classes` adds copies rotated by 90°, 180° and 270° as separate classes, after
            the split (four times as many); `episode` rotates each class of an episode by a random
            multiple of 90°; `task` rotates all classes of an episode by the same one; `none`
            leaves all upright.
        eval_rotations: the same for the validation and test classes; `None`: as `rotations`.
        resize: how images become 28×28 pixels. `area`: the share of ink in each pixel (grey);
            `nearest`: the nearest pixel of the image (black or white), which is what Pillow does
            with images of 1 bit, and so the codes of Finn et al. 2017, Snell et al. 2017 and
            Nichol et al. 2018.
    """

    own_items = "pictures"

    def __init__(
        self,
        *,
        root: Place,
        cache: Place,
        split: Literal["vinyals", "background_evaluation", "alphabets"] = "vinyals",
        rotations: Rotations = "classes",
        eval_rotations: Rotations | None = None,
        resize: Literal["area", "nearest"] = "area",
        url: str = "https://github.com/brendenlake/omniglot/raw/master/python",
    ) -> None:
        self.root = unpacked(root, ARCHIVES)
        name = "omniglot" if resize == "area" else f"omniglot_{resize}"
        self.folder = Path(cache).expanduser() / name
        self.classes = published(split)
        evaluated = rotations if eval_rotations is None else eval_rotations
        self.rotations = {"train": rotations, "val": evaluated, "test": evaluated}
        self.resize = resize
        self.url = url.rstrip("/")

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, each with 20 images; reads no file."""
        return {
            name: Facts(len(classes) * len(self._turns(name)), DRAWINGS)
            for name, classes in self.classes.items()
        }

    def load(self) -> dict[str, Split]:
        """The three splits; the first call reads 32,460 images, which takes seconds.

        Raises:
            Refused: images are missing, altered or damaged, or the cache is not writable.
        """
        require_root(self.root, self.folder.parent, self._by_hand(ARCHIVES))
        key = f"{self.folder.name} {CONTENT} {PREPARATION}"
        images = prepared(self.folder, key, self._prepare, root=self.root)
        return {
            name: select(images, names, self._turns(name), SPINS.get(self.rotations[name]))
            for name, names in self.classes.items()
        }

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: dark ink on light paper → (1, 28, 28) uint8, ink 255."""
        return [
            p if isinstance(p, Broken) else self._small(p <= 127)[0]
            for p in read_pictures(files, SIDE, False, span)
        ]

    def _turns(self, split: str) -> tuple[int, ...]:
        """Quarter turns that make classes of their own in a split."""
        return (0, 1, 2, 3) if self.rotations[split] == "classes" else (0,)

    def _prepare(self) -> Iterator[Class]:
        drawings = decode(self._sources())
        expected = sorted(name for names in self.classes.values() for name in names)
        if mistakes := _differences(drawings, expected):
            raise Refused(f"data.root={self.root}: {mistakes}; {self._by_hand(ARCHIVES)}")
        for name in expected:
            files = sorted(drawings[name])
            ink = np.stack([drawings[name][file] for file in files])
            yield Class(name, self._small(ink), files)

    def _small(self, ink: np.ndarray) -> np.ndarray:
        """Ink (M, 105, 105) bool → items (M, 1, 28, 28) uint8."""
        return (shrink(ink) if self.resize == "area" else nearest(ink))[:, None]

    def _sources(self) -> list[Path]:
        """The zip file or the folder of each archive; downloads archives that have neither."""
        # torchvision uses the folder `omniglot-py`
        sources = {archive: present(self.root, "omniglot-py", archive) for archive in ARCHIVES}
        missing = [archive for archive, path in sources.items() if path is None]
        for archive in missing:
            url, path = f"{self.url}/{archive}.zip", self.root / f"{archive}.zip"
            sources[archive] = fetch(url, path, ARCHIVES[archive], by_hand=self._by_hand(missing))
        return list(sources.values())

    def _by_hand(self, archives: Iterable[str]) -> str:
        return put_advice(self.root, (f"{self.url}/{archive}.zip" for archive in archives))


def published(split: str) -> dict[str, list[str]]:
    """Class names of `train`, `val` and `test` in the published split `split`."""
    content = published_list(f"omniglot_{split}")
    return {
        name: [f"{alphabet}/character{n:02d}" for alphabet, ns in content[name].items() for n in ns]
        for name in SPLITS
    }


def _differences(drawings: dict[str, dict[str, np.ndarray]], expected: list[str]) -> str:
    """Differences from the official data set as text; empty if there are none."""
    kinds = {
        f"of {len(expected)} classes missing": [n for n in expected if n not in drawings],
        "classes unknown": sorted(set(drawings) - set(expected)),
        f"classes without {DRAWINGS} images": [
            f"{name}: {len(files)}"
            for name, files in sorted(drawings.items())
            if len(files) != DRAWINGS
        ],
    }
    altered = "the images are not those of Omniglot: some were altered"
    return counted(kinds) or (altered if content_hash(drawings) != CONTENT else "")
