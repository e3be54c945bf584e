"""Omniglot: 1,623 handwritten characters of 50 alphabets, 20 drawings each.

Lake, Salakhutdinov & Tenenbaum, 2015, https://github.com/brendenlake/omniglot (MIT).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from metarun.data.archives import MEGABYTE, members
from metarun.data.cache import prepared
from metarun.data.classes import Class, Facts, Split, select
from metarun.data.download import existing, fetch
from metarun.errors import Refused

PREPARATION = 1  # raise it when the prepared array changes for equal files
SPLITS = Path(__file__).parent / "splits"
ARCHIVES = {  # MD5 of the official containers, for downloads only: others hold the same images
    "images_background": "md5:68d2efa1b9178cc56df9314c21c6e718",
    "images_evaluation": "md5:6b91aef0f799c5bb55b94e3f2daec811",
}
# content_hash of the whole data set
CONTENT = "0ee83dbd9563c52640f85677dccd80dc9d8149a39b9ee2ca7f8237b9b4e1bc21"
DRAWINGS = 20  # of each class
SIDE, SMALL = 105, 28  # pixels: height and width of an official image, and of a prepared one
TURNS = {"classes": (0, 1, 2, 3), "episode": (0,), "none": (0,)}


class Omniglot:
    """Omniglot at (1, 28, 28), ink 255 on paper 0.

    The classes are named as in the archives, `Greek/character01`. The images come from the two
    official zip files, or the folders they unpack to, in `root`; what is missing is downloaded.
    They are known by their content, whatever the container.

    Args:
        root: folder with the official files. It has to exist, unless it lies beside the cache.
        cache: folder for the prepared array; it holds `omniglot/`.
        split: `vinyals`, 1,028 / 172 / 423 characters (Vinyals et al., 2016).
        rotations: `classes` makes the copies turned by 90°, 180° and 270° classes of their own,
            after the split (4,112 / 688 / 1,692); `episode` turns each class of an episode by a
            random multiple of 90°; `none` leaves them upright.
        url: where the two zip files are downloaded from.
    """

    def __init__(
        self,
        *,
        root: str,
        cache: str,
        split: Literal["vinyals"] = "vinyals",
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
        """The splits `train`, `val` and `test`; the first call reads 32,460 images, for seconds.

        Raises:
            Refused: images are missing, altered or broken, or the cache cannot be written to.
        """
        advice = self._by_hand(list(ARCHIVES))
        existing(
            self.root,
            self.folder.parent,
            f"{advice}, or leave data.root out to have them downloaded",
        )
        images = prepared(self.folder, f"omniglot {CONTENT} {PREPARATION}", self._prepare)
        spin = self.rotations == "episode"
        return {
            name: select(images, names, TURNS[self.rotations], spin)
            for name, names in self.classes.items()
        }

    def _prepare(self) -> Iterator[Class]:
        drawings = decode(self.root, self._sources())
        expected = sorted(name for names in self.classes.values() for name in names)
        mistakes = _unlike(drawings, expected)
        if mistakes:
            raise Refused(f"data.root={self.root}: {mistakes}; {self._by_hand(list(ARCHIVES))}")
        for name in expected:
            files = sorted(drawings[name])
            small = shrink(np.stack([drawings[name][file] for file in files]))
            yield Class(name, small[:, None], files)

    def _sources(self) -> list[Path]:
        """The zip file or the folder of each archive, downloaded if there is neither."""
        found = {archive: _present(self.root, archive) for archive in ARCHIVES}
        missing = [archive for archive, path in found.items() if path is None]
        for archive in missing:
            file = f"{archive}.zip"
            found[archive] = fetch(
                f"{self.url}/{file}",
                self.root / file,
                ARCHIVES[archive],
                by_hand=self._by_hand(missing),
            )
        return [path for path in found.values() if path is not None]

    def _by_hand(self, archives: list[str]) -> str:
        files = " and ".join(f"{self.url}/{archive}.zip" for archive in archives)
        return f"put {files} into data.root={self.root}"


def published(split: str) -> dict[str, list[str]]:
    """Class names of `train`, `val` and `test` in a published split."""
    content = json.loads((SPLITS / f"omniglot_{split}.json").read_text(encoding="utf-8"))
    return {
        name: [f"{alphabet}/character{n:02d}" for alphabet, ns in content[name].items() for n in ns]
        for name in ("train", "val", "test")
    }


def decode(root: Path, sources: list[Path]) -> dict[str, dict[str, np.ndarray]]:
    """Class name → file name → ink, (105, 105) bool, of all images in the zip files and folders.

    Raises:
        Refused: a file cannot be read, or is not an image of that size.
    """
    from PIL import Image

    found: dict[str, dict[str, np.ndarray]] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow warns of images that would unpack to gigabytes
        for source, path, content in ((s, *file) for s in sources for file in _files(s)):
            alphabet, character, name = path.split("/")[-3:]
            try:
                image = Image.open(io.BytesIO(content), formats=["PNG"])
                if image.size != (SIDE, SIDE):
                    raise ValueError(f"{image.width}×{image.height} pixels, not {SIDE}×{SIDE}")
                paper = np.asarray(image.convert("L")) > 127
            except Exception as error:  # Pillow raises nearly anything on broken files
                reason = "not a PNG" if "BytesIO" in str(error) else error
                raise Refused(f"{source}: {path} cannot be read ({reason})") from error
            found.setdefault(f"{alphabet}/{character}", {})[name] = ~paper
    return found


def shrink(ink: np.ndarray) -> np.ndarray:
    """(M, 105, 105) bool → (M, 28, 28) uint8, 0…255: each pixel the share of ink in its area.

    Areas are counted in quarters of a pixel, as 105 · 4 = 28 · 15: whole numbers, exact in
    float32, so the result depends on no imaging library and no processor.
    """
    quarters = np.arange(SIDE * 4)
    weights = np.zeros((SMALL, SIDE), np.float32)
    np.add.at(weights, (quarters * SMALL // (SIDE * 4), quarters // 4), 1)
    area = weights @ ink.astype(np.float32) @ weights.T  # 0 … 225
    return np.floor(area * (255 / 225) + 0.5).astype(np.uint8)


def content_hash(drawings: dict[str, dict[str, np.ndarray]]) -> str:
    """sha256 over class names, file names and ink, in sorted order."""
    digest = hashlib.sha256()
    for name in sorted(drawings):
        for file in sorted(drawings[name]):
            digest.update(f"{name}/{file}\n".encode() + np.packbits(drawings[name][file]).tobytes())
    return digest.hexdigest()


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
    told = [
        f"{len(names)} {kind} ({', '.join(names[:3])}{', …' if len(names) > 3 else ''})"
        for kind, names in kinds.items()
        if names
    ]
    if not told and content_hash(drawings) != CONTENT:
        told = ["the images are not those of Omniglot: some were altered"]
    return ", ".join(told)


def _present(root: Path, archive: str) -> Path | None:
    """The archive's zip file or folder, in `root` or where torchvision puts it, `omniglot-py`."""
    for base in (root, root / "omniglot-py"):
        for path in (base / f"{archive}.zip", base / archive):
            if path.exists():
                return path
    return None


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of each image: `…/Alphabet/characterNN/NNNN_MM.png`."""
    image = re.compile(rf"{re.escape(source.stem)}/[^/]+/character\d+/[^/.][^/]*\.png")
    if source.suffix == ".zip":
        limits = {"member_limit": MEGABYTE, "total_limit": 256 * MEGABYTE}
        yield from members(source, lambda name: bool(image.fullmatch(name)), **limits)
        return
    for path in source.glob("*/character*/*.png"):
        name = path.relative_to(source.parent).as_posix()
        if image.fullmatch(name):
            try:
                yield name, path.read_bytes()
            except OSError as error:
                raise Refused(f"{path}: cannot be read ({error.strerror or error})") from error
