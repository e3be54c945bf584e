"""Reading of the classes of a MedMNIST member from its official `.npz` file."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from metarun.data.preparation.archives import MEGABYTE
from metarun.data.preparation.images import Class
from metarun.data.preparation.medmnist_members import MEMBERS
from metarun.data.preparation.npz import header, pieces
from metarun.errors import Refused

PORTIONS = ("train", "val", "test")  # of each member; they are pooled
MAX_IMAGES = 1_000_000  # in a portion; the largest has 165,466
BUDGET = 512 * MEGABYTE  # bytes of images in memory; a larger class is read alone


def labels_of(member: str, path: Path, size: int) -> list[np.ndarray]:
    """Labels (n) of each of `PORTIONS`, after a check of the shapes of all arrays.

    Raises:
        Refused: the file is not an intact npz file, or its arrays do not fit the member and size.
    """
    return [_portion(member, path, portion, size) for portion in PORTIONS]


def _portion(member: str, path: Path, portion: str, size: int) -> np.ndarray:
    """Labels (n) of a portion."""
    label_header, images = (header(path, f"{portion}_{kind}") for kind in ("labels", "images"))
    classes, colours = len(MEMBERS[member]["labels"]), (3,) * (MEMBERS[member]["channels"] == 3)
    shape, count = (size, size, *colours), images.shape[0]
    if images.dtype != np.uint8 or images.shape[1:] != shape or count > MAX_IMAGES:
        raise Refused(f"{path}: {portion}_images is {images}, not uint8 {('n', *shape)}")
    if label_header.dtype.kind not in "iu" or label_header.shape not in ((count, 1), (count,)):
        raise Refused(f"{path}: {portion}_labels is {label_header}, not integers {(count, 1)}")
    label_pieces = [piece.reshape(-1) for piece in pieces(path, f"{portion}_labels")]
    labels = np.concatenate([np.zeros(0, label_header.dtype), *label_pieces])
    if np.any((labels < 0) | (labels >= classes)):
        raise Refused(f"{path}: {portion}_labels are not all from 0 to {classes - 1}")
    return labels.astype(np.int64)


def classes_of(
    member: str, path: Path, labels: list[np.ndarray], size: int, colour: bool
) -> Iterator[Class]:
    """The classes of a member, (n, 3 or 1, size, size); reads the file once per group of classes.

    Args:
        labels: result of `labels_of`.
        colour: three channels, repeated for grey images; or one, grey by ITU-R BT.601.

    Raises:
        Refused: the image data is damaged.
    """
    counts = sum(np.bincount(y, minlength=len(MEMBERS[member]["labels"])) for y in labels)
    shape = (3 if colour else 1, size, size)
    for group in _groups(counts * np.prod(shape)):
        try:
            arrays = {c: np.empty((counts[c], *shape), np.uint8) for c in group}
        except MemoryError as error:
            message = f"{path}: {max(counts)} images of a class do not fit into memory"
            raise Refused(message) from error
        filled = dict.fromkeys(group, 0)
        for portion, y in zip(PORTIONS, labels, strict=True):
            start = 0
            for piece in pieces(path, f"{portion}_images"):
                piece_labels = y[start : start + len(piece)]
                start += len(piece)
                for c in group:
                    images = piece[piece_labels == c]
                    arrays[c][filled[c] : filled[c] + len(images)] = _channels(images, colour)
                    filled[c] += len(images)
        for c in group:
            rows = zip(PORTIONS, (np.flatnonzero(y == c) for y in labels), strict=True)
            names = [f"{portion}/{row}" for portion, indices in rows for row in indices]
            yield Class(f"{member}/{MEMBERS[member]['labels'][c]}", arrays.pop(c), names)


def _channels(images: np.ndarray, colour: bool) -> np.ndarray:
    """(n, H, W) or (n, H, W, 3) → (n, 3, H, W), or (n, 1, H, W) without colour."""
    if images.ndim == 3:
        return images[:, None]  # repeated by broadcasting when it is assigned to 3 channels
    if colour:
        return images.transpose(0, 3, 1, 2)
    weights = np.array([19595, 38470, 7471], np.uint32)  # in 1/65,536; rounded like Pillow
    return ((images @ weights + 0x8000) >> 16).astype(np.uint8)[:, None]


def _groups(sizes: np.ndarray) -> Iterator[list[int]]:
    """Consecutive classes in groups that fit into `BUDGET`, at least one class each."""
    group, total = [], 0
    for c, size in enumerate(sizes.tolist()):
        if group and total + size > BUDGET:
            yield group
            group, total = [], 0
        group, total = [*group, c], total + size
    yield group
