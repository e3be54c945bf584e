"""Reading one member of MedMNIST: an official `.npz` file, taken apart into classes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from metarun.data.preparation.archives import MEGABYTE
from metarun.data.preparation.images import Class
from metarun.data.preparation.medmnist_members import MEMBERS
from metarun.data.preparation.npz import header, pieces
from metarun.errors import Refused

PORTIONS = ("train", "val", "test")  # of a member's own; they are put together
MOST = 1_000_000  # images in a portion; the largest has 165,466
BUDGET = 512 * MEGABYTE  # of images in memory; a class that is larger is read alone


def labels_of(member: str, path: Path, size: int) -> list[np.ndarray]:
    """Labels (n) of each of `PORTIONS`, once it is known that as many images go with them.

    Raises:
        Refused: the file is no whole npz file, or its arrays are not those of this member at this
            size.
    """
    return [_portion(member, path, portion, size) for portion in PORTIONS]


def _portion(member: str, path: Path, portion: str, size: int) -> np.ndarray:
    """Labels (n) of a portion."""
    about, images = (header(path, f"{portion}_{kind}") for kind in ("labels", "images"))
    classes, colours = len(MEMBERS[member]["labels"]), (3,) * (MEMBERS[member]["channels"] == 3)
    shape, count = (size, size, *colours), images.shape[0]
    if images.dtype != np.uint8 or images.shape[1:] != shape or count > MOST:
        raise Refused(f"{path}: {portion}_images is {images}, not uint8 {('n', *shape)}")
    if about.dtype.kind not in "iu" or about.shape not in ((count, 1), (count,)):
        raise Refused(f"{path}: {portion}_labels is {about}, not whole numbers {(count, 1)}")
    found = [piece.reshape(-1) for piece in pieces(path, f"{portion}_labels")]
    labels = np.concatenate([np.zeros(0, about.dtype), *found])
    if np.any((labels < 0) | (labels >= classes)):
        raise Refused(f"{path}: {portion}_labels are not all from 0 to {classes - 1}")
    return labels.astype(np.int64)


def classes_of(
    member: str, path: Path, labels: list[np.ndarray], size: int, colour: bool
) -> Iterator[Class]:
    """The classes of a member, (n, 3 or 1, size, size); read as often as memory makes necessary.

    Args:
        labels: what `labels_of` found.
        colour: three channels, grey images being repeated; or one, as in ITU-R BT.601.

    Raises:
        Refused: the file is damaged further on.
    """
    counts = sum(np.bincount(y, minlength=len(MEMBERS[member]["labels"])) for y in labels)
    shape = (3 if colour else 1, size, size)
    for group in _groups(counts * np.prod(shape)):
        try:
            rooms = {c: np.empty((counts[c], *shape), np.uint8) for c in group}
        except MemoryError as error:
            many = f"{path}: {max(counts)} images of a class"
            raise Refused(f"{many} do not fit into memory") from error
        filled = dict.fromkeys(group, 0)
        for portion, y in zip(PORTIONS, labels, strict=True):
            start = 0
            for piece in pieces(path, f"{portion}_images"):
                here = y[start : start + len(piece)]
                start += len(piece)
                for c in group:
                    some = piece[here == c]
                    rooms[c][filled[c] : filled[c] + len(some)] = _channels(some, colour)
                    filled[c] += len(some)
        for c in group:
            rows = zip(PORTIONS, (np.flatnonzero(y == c) for y in labels), strict=True)
            names = [f"{portion}/{row}" for portion, some in rows for row in some]
            yield Class(f"{member}/{MEMBERS[member]['labels'][c]}", rooms.pop(c), names)


def _channels(images: np.ndarray, colour: bool) -> np.ndarray:
    """(n, H, W) or (n, H, W, 3) → (n, 3, H, W), or (n, 1, H, W) without colour."""
    if images.ndim == 3:
        return images[:, None]  # repeated, if need be, where it is put
    if colour:
        return images.transpose(0, 3, 1, 2)
    weights = np.array([19595, 38470, 7471], np.uint32)  # of 65,536; as Pillow rounds
    return ((images @ weights + 0x8000) >> 16).astype(np.uint8)[:, None]


def _groups(sizes: np.ndarray) -> Iterator[list[int]]:
    """The classes 0, 1, … in runs that fit into `BUDGET`, one at least."""
    run, total = [], 0
    for c, size in enumerate(sizes.tolist()):
        if run and total + size > BUDGET:
            yield run
            run, total = [], 0
        run, total = [*run, c], total + size
    yield run
