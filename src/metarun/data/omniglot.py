"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each.

Lake, Salakhutdinov & Tenenbaum, 2015, https://github.com/brendenlake/omniglot (MIT).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from metarun.data.class_splits import SPLITS, published_list
from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import counted
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.download import existing, fetch, put
from metarun.data.preparation.images import Class
from metarun.data.preparation.omniglot_images import content_hash, decode, present, shrink
from metarun.errors import Refused

PREPARATION = 1  # raise it when the prepared array changes for equal files
ARCHIVES = {  # MD5 of the official containers, for downloads only: others hold the same images
    "images_background": "md5:68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "md5:6b91aef0f799c5bb55b94e3f2daec811",
}
# content_hash of the whole data set
CONTENT = "0ee83dbd9563c52640f85677dccd80dc9d8149a39b9ee2ca7f8237b9b4e1bc21"
DRAWINGS = 20  # of each class
TURNS = {"classes": (0, 1, 2, 3), "episode": (0,), "none": (0,)}


class Omniglot:
    """Omniglot at (1, 28, 28), ink 255 on paper 0.

    The classes are named as in the archives, `Greek/character01`. The images come from the two
    official zip files, or the folders they unpack to, in `root`; what is missing is downloaded.
    They are known by their content, whatever the container.

    Args:
        root, cache, url: as of any data set.
        split: which characters train, validate and test:
            `vinyals`, 1,028 / 172 / 423 (Vinyals et al., 2016), which cuts through an alphabet;
            `background_evaluation`, 792 / 172 / 659, the authors' own: test is the 20 evaluation
            alphabets, val five whole ones of the 30 background alphabets, those that validate in
            `vinyals`; `alphabets`, 894 / 186 / 543, whole alphabets over all 50, with related
            scripts together: test on the 14 Brahmic scripts, which training has none of.
        rotations: `classes` makes the copies turned by 90°, 180° and 270° classes of their own,
            after the split (four times as many); `episode` turns each class of an episode by a
            random multiple of 90°; `none` leaves them upright.
    """

    def __init__(
        self,
        *,
        root: str,
        cache: str,
        split: Literal["vinyals", "background_evaluation", "alphabets"] = "vinyals",
        rotations: Literal["classes", "episode", "none"] = "classes",
        url: str = "https://github.com/brendenlake/omniglot/raw/master/python",
    ) -> None:
        self.root = Path(root).expanduser()
        self.folder = Path(cache).expanduser() / "omniglot"
        self.classes = published(split)
        self.rotations = rotations
        self.url = url.rstrip("/")

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, known without the images; each has 20 images."""
        turns = len(TURNS[self.rotations])
        return {name: Facts(len(c) * turns, DRAWINGS) for name, c in self.classes.items()}

    def load(self) -> dict[str, Split]:
        """The three splits; the first call reads 32,460 images, for seconds.

        Raises:
            Refused: images are missing, altered or broken, or the cache cannot be written to.
        """
        existing(self.root, self.folder.parent, self._by_hand(ARCHIVES))
        images = prepared(self.folder, f"omniglot {CONTENT} {PREPARATION}", self._prepare)
        spin = self.rotations == "episode"
        return {
            name: select(images, names, TURNS[self.rotations], spin)
            for name, names in self.classes.items()
        }

    def _prepare(self) -> Iterator[Class]:
        drawings = decode(self._sources())
        expected = sorted(name for names in self.classes.values() for name in names)
        if mistakes := _unlike(drawings, expected):
            raise Refused(f"data.root={self.root}: {mistakes}; {self._by_hand(ARCHIVES)}")
        for name in expected:
            files = sorted(drawings[name])
            small = shrink(np.stack([drawings[name][file] for file in files]))
            yield Class(name, small[:, None], files)

    def _sources(self) -> list[Path]:
        """The zip file or the folder of each archive, downloaded if there is neither."""
        # torchvision puts them into a folder `omniglot-py`
        found = {archive: present(self.root, "omniglot-py", archive) for archive in ARCHIVES}
        missing = [archive for archive, path in found.items() if path is None]
        for archive in missing:
            url, path = f"{self.url}/{archive}.zip", self.root / f"{archive}.zip"
            found[archive] = fetch(url, path, ARCHIVES[archive], by_hand=self._by_hand(missing))
        return list(found.values())

    def _by_hand(self, archives: Iterable[str]) -> str:
        return put(self.root, (f"{self.url}/{archive}.zip" for archive in archives))


def published(split: str) -> dict[str, list[str]]:
    """Class names of `train`, `val` and `test` in a published split."""
    content = published_list(f"omniglot_{split}")
    return {
        name: [f"{alphabet}/character{n:02d}" for alphabet, ns in content[name].items() for n in ns]
        for name in SPLITS
    }


def _unlike(drawings: dict[str, dict[str, np.ndarray]], expected: list[str]) -> str:
    """What is missing from the official data set, or too much; empty if nothing is."""
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
