"""Reading, hashing and downscaling of Omniglot's images."""

from __future__ import annotations

import hashlib
import io
import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from metarun.data.preparation.archives import MEGABYTE, members
from metarun.data.preparation.unpacked import unpacked
from metarun.errors import Refused
from metarun.files import read_or_refuse

SIDE, SMALL = 105, 28  # pixels: height and width of an official image, and of a prepared one
LIMITS = {"member_limit": MEGABYTE, "total_limit": 256 * MEGABYTE}  # of a zip file, in bytes


def present(root: Path, below: str, archive: str) -> Path | None:
    """Path of the zip file or folder `archive` in `root` or `root/below`; `None` if missing."""
    names = (f"{archive}.zip", archive)
    paths = (base / name for base in (root, root / below) for name in names)
    return next((unpacked(path) for path in paths if path.exists()), None)


def decode(sources: list[Path]) -> dict[str, dict[str, np.ndarray]]:
    """Class name → file name → ink (105, 105) bool, for all images in the zip files and folders.

    Raises:
        Refused: a file cannot be read or is not an image of this size.
    """
    drawings: dict[str, dict[str, np.ndarray]] = {}
    for source, path, content in ((s, *file) for s in sources for file in _files(s)):
        alphabet, character, name = path.split("/")[-3:]
        drawings.setdefault(f"{alphabet}/{character}", {})[name] = ink(content, f"{source}: {path}")
    return drawings


def ink(content: bytes, place: str) -> np.ndarray:
    """Ink, (105, 105) bool, of a PNG of any mode.

    Args:
        place: the image in error messages.

    Raises:
        Refused: the content is not an image of this size.
    """
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("error")  # Pillow only warns of decompression bombs
        try:
            image = Image.open(io.BytesIO(content), formats=["PNG"])
            if image.size != (SIDE, SIDE):
                raise ValueError(f"{image.width}×{image.height} pixels, not {SIDE}×{SIDE}")
            return np.asarray(image.convert("L")) <= 127
        except Exception as error:  # Pillow raises various exceptions for damaged files
            reason = "not a PNG" if "BytesIO" in str(error) else error
            raise Refused(f"{place} cannot be read ({reason})") from error


def shrink(ink: np.ndarray) -> np.ndarray:
    """Downscale ink by area: (M, 105, 105) bool → (M, 28, 28) uint8, share of ink in 0…255.

    Areas are integer numbers of quarter pixels, as 105 · 4 = 28 · 15. These are exact in float32,
    so the result does not depend on the processor or an imaging library.
    """
    quarters = np.arange(SIDE * 4)
    weights = np.zeros((SMALL, SIDE), np.float32)
    np.add.at(weights, (quarters * SMALL // (SIDE * 4), quarters // 4), 1)
    area = weights @ ink.astype(np.float32) @ weights.T  # 0 … 225
    return np.floor(area * (255 / 225) + 0.5).astype(np.uint8)


def nearest(ink: np.ndarray) -> np.ndarray:
    """Sample ink: (M, 105, 105) bool → (M, 28, 28) uint8, 0 or 255.

    A prepared pixel is the image's pixel at its centre, which never lies between two pixels, so the
    result of a rotation is the rotation of the result.
    """
    centres = (2 * np.arange(SMALL) + 1) * SIDE // (2 * SMALL)
    return ink[:, centres[:, None], centres].astype(np.uint8) * 255


def content_hash(drawings: dict[str, dict[str, np.ndarray]]) -> str:
    """sha256 of class names, file names and ink, sorted by name."""
    digest = hashlib.sha256()
    for name in sorted(drawings):
        for file in sorted(drawings[name]):
            digest.update(f"{name}/{file}\n".encode() + np.packbits(drawings[name][file]).tobytes())
    return digest.hexdigest()


def _files(source: Path) -> Iterator[tuple[str, bytes]]:
    """Path and content of each image: `…/Alphabet/characterNN/NNNN_MM.png`."""
    image = re.compile(rf"{re.escape(source.stem)}/[^/]+/character\d+/[^/.][^/]*\.png")
    if source.suffix == ".zip":
        yield from members(source, lambda name: bool(image.fullmatch(name)), **LIMITS)
        return
    for path in source.glob("*/character*/*.png"):
        name = path.relative_to(source.parent).as_posix()
        if image.fullmatch(name):
            yield name, read_or_refuse(path, MEGABYTE)
