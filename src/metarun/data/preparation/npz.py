"""Arrays of an `.npz` file from a stranger, piece by piece: nothing in it is unpickled."""

from __future__ import annotations

import contextlib
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from metarun.data.preparation.archives import MEGABYTE, whole
from metarun.errors import Refused

PIECE = 16 * MEGABYTE  # bytes that are unpacked at a time
HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


class Header(NamedTuple):
    """What an array says of itself before any of it is unpacked."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"


def header(path: Path, name: str) -> Header:
    """Shape and type of the array `name`.

    Raises:
        Refused: the file cannot be read, is no whole npz file, lacks the array, or the array holds
            something else than numbers.
    """
    with _opened(path, name) as (about, _):
        return about


def pieces(path: Path, name: str) -> Iterator[np.ndarray]:
    """The rows of the array `name`, in order, as read-only arrays of `PIECE` bytes or less.

    Whatever size the file says it unpacks to, no more memory is taken than that (and a row).

    Raises:
        Refused: as `header`; or the array is cut off or damaged.
    """
    with _opened(path, name) as (about, stream):
        row = math.prod(about.shape[1:]) * about.dtype.itemsize
        left, each = about.shape[0], max(1, PIECE // max(1, row))
        while left:
            count = min(each, left)
            content = stream.read(count * row)
            if len(content) < count * row:
                raise EOFError(f"{name} is cut off")
            yield np.frombuffer(content, about.dtype).reshape(count, *about.shape[1:])
            left -= count
        if stream.read(1):  # at the end, the checksum is compared
            raise ValueError(f"{name} is longer than it says")


@contextlib.contextmanager
def _opened(path: Path, name: str) -> Iterator[tuple[Header, BinaryIO]]:
    with whole(path, "npz"), zipfile.ZipFile(path) as archive:
        if f"{name}.npy" not in archive.namelist():
            raise Refused(f"{path}: lacks {name}")
        with archive.open(f"{name}.npy") as stream:
            yield _header(path, name, stream), stream


def _header(path: Path, name: str, stream: BinaryIO) -> Header:
    version = np.lib.format.read_magic(stream)
    if version not in HEADERS:
        raise ValueError(f"{name} is of version {version}")
    try:
        shape, columns, dtype = HEADERS[version](stream)
    except Exception as error:  # numpy parses a literal, which ends in many ways
        raise ValueError(f"{name} has a header that cannot be read") from error
    if dtype.hasobject:
        raise Refused(f"{path}: {name} holds Python objects, which are never read; only numbers")
    if dtype.kind not in "biuf" or columns or not shape:
        raise Refused(f"{path}: {name} should be an array of numbers, row by row")
    return Header(shape, dtype)
