"""Safe reading of arrays from untrusted `.npz` files, piece by piece and without unpickling."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from metarun.data.preparation.archives import MEGABYTE, archive_errors
from metarun.errors import Refused

PIECE = 16 * MEGABYTE  # maximum bytes unpacked at a time
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Header(NamedTuple):
    """Shape and type in the header of an array."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def header(path: Path, name: str) -> Header:
    """Shape and type of the array `name`.

    Raises:
        Refused: the file cannot be read, is not an intact npz file, lacks the array, or the array
            holds anything else than numbers.
    """
    with _opened(path, name) as (info, _):
        return info


def array(path: Path, name: str) -> np.ndarray:
    """The whole array `name`.

    Raises:
        Refused: as in `pieces`, or it does not fit into memory.
    """
    info = header(path, name)
    try:
        return np.concatenate([np.zeros((0, *info.shape[1:]), info.dtype), *pieces(path, name)])
    except MemoryError as error:
        raise Refused(f"{path}: {name} does not fit into memory") from error


def pieces(path: Path, name: str) -> Iterator[np.ndarray]:
    """The rows of the array `name`, in order, as read-only arrays of at most `PIECE` bytes.

    Memory use is limited to the larger of `PIECE` and one row, whatever size the header states.

    Raises:
        Refused: as in `header`, or the array is cut off or damaged.
    """
    with _opened(path, name) as (info, stream):
        row = math.prod(info.shape[1:]) * info.dtype.itemsize
        left, rows = info.shape[0], max(1, PIECE // max(1, row))
        while left:
            count = min(rows, left)
            content = stream.read(count * row)
            if len(content) < count * row:
                raise EOFError(f"{name} is cut off")
            yield np.frombuffer(content, info.dtype).reshape(count, *info.shape[1:])
            left -= count
        if stream.read(1):  # reading to the end verifies the checksum
            raise ValueError(f"{name} is longer than its header states")


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[Header, BinaryIO]]:
    with archive_errors(path, "npz"), zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            there = ", ".join(n.removesuffix(".npy") for n in archive.namelist()[:5])
            raise Refused(f"{path}: lacks {name} (it has {there})")
        with archive.open(f"{name}.npy") as stream:
            yield _header(path, name, stream), stream


def _header(path: Path, name: str, stream: BinaryIO) -> Header:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"{name} has the unknown format version {version}")
    try:
        shape, columns, dtype = HEADERS[version](stream)
    except Exception as error:  # numpy parses a Python literal and raises various exceptions
        raise ValueError(f"{name} has a header that cannot be read") from error
    if dtype.hasobject:
        raise Refused(f"{path}: {name} holds Python objects; only numbers and text are read")
    if dtype.kind not in "biufU" or columns or not shape:
        raise Refused(f"{path}: {name} should be an array of numbers or text in row-major order")
    return Header(shape, dtype)
