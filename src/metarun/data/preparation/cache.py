"""Prepared data sets on disk: made once, under a lock, memory-mapped ever after.

A data set's folder holds `metarun_items.npy` (M × the shape of an item) and `metarun_index.json`:
the names, counts and digests of its classes, equal items, the key it was made for, and the size and
time of the array's file. The array is written class by class, so a data set may be larger than
memory. Each file is replaced in one step, the index last: an index that does not describe its array
counts as no data set, so a reader sees the old data set or the new one. Other files in the folder
are left alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, BinaryIO

import numpy as np

from metarun.data.preparation.images import Class, Images, Ledger
from metarun.errors import Refused
from metarun.files import clear_parts, replacing, write_whole

FORMAT = 3
DTYPES = ("uint8", "float16", "float32")
ARRAY, INDEX, LOCK = "metarun_items.npy", "metarun_index.json", ".metarun.lock"

log = logging.getLogger(__name__)


def prepared(
    folder: Path,
    key: str,
    make: Callable[[], Iterable[Class]],
    notes: Mapping[str, Any] = MappingProxyType({}),
) -> Images:
    """The data set kept in `folder`, made first if it is not there.

    Processes that ask at the same time wait for the one that makes it; the lock ends with its
    holder, however that dies.

    Args:
        key: identifies source and preparation; another key than the stored one makes it anew.
        make: prepares the data set, a class after the other, all of one shape and type; what it
            raises is passed on and leaves the folder as it was.
        notes: what to keep beside the data set, plain containers; read when `make` has ended.

    Returns:
        the data set, `items` being a read-only memory map.

    Raises:
        Refused: the folder cannot be written to.
    """
    if (images := stored(folder, key)) is not None:
        return images
    with _locked(folder):  # another process may have made it while this one waited
        if (images := stored(folder, key)) is not None:
            return images
        log.info("preparing %s, once", folder)
        try:
            with _naming_the_key(folder):
                _write(folder, key, _from_source(make), notes)
                images = stored(folder, key)
        except _SourceError as error:
            raise error.cause from None
    if images is None:
        raise Refused(f"data.cache={folder.parent}: {folder.name} cannot be read back from there")
    return images


def stored(folder: Path, key: str) -> Images | None:
    """The data set in `folder` if it is whole and was made for `key`, else None.

    A file of the recorded size and time is taken for the recorded one; another time (a copy, or
    damage) has every class compared with its digest.
    """
    try:
        index = json.loads((folder / INDEX).read_bytes())
        seal = index.pop("sha256")
        if seal != _seal(index) or (index["format"], index["key"]) != (FORMAT, key):
            return None
        path = folder / ARRAY
        items = np.load(path, mmap_mode="r", allow_pickle=False)
        known = Images(
            np.asarray(items),  # still mapped; indexing a plain array is quicker than a memmap
            tuple(index["names"]),
            tuple(index["counts"]),
            tuple(index["digests"]),
            tuple(tuple((k, name) for k, name in group) for group in index["copies"]),
            index["notes"],
        )
        stat = path.stat()
        about = (list(items.shape), str(items.dtype), stat.st_size)
        if about != (index["shape"], index["dtype"], index["bytes"]):
            return None
        if stat.st_mtime_ns != index["mtime_ns"]:
            found = Images.of(known.items, known.names, known.counts)
            return known if found.digests == known.digests else None
        return known
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


def _seal(index: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


class _SourceError(Exception):
    """What went wrong while the data was read, as opposed to written."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


def _from_source(make: Callable[[], Iterable[Class]]) -> Iterator[Class]:
    try:
        yield from make()
    except Exception as error:
        raise _SourceError(error) from error


@contextlib.contextmanager
def _naming_the_key(folder: Path) -> Iterator[None]:
    """Trouble with the cache folder becomes one line that names the key to change."""
    try:
        yield
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(
            f"data.cache={folder.parent}: cannot write there ({reason}); "
            "name a folder that can be written to"
        ) from error


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    from filelock import FileLock, Timeout

    lock = FileLock(folder / LOCK)
    with _naming_the_key(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0.1)
        except Timeout:
            log.info("waiting for another process that prepares %s", folder)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _write(folder: Path, key: str, classes: Iterable[Class], notes: Mapping[str, Any]) -> None:
    """Write the array, then the index that describes it."""
    clear_parts(folder)
    with replacing(folder / ARRAY) as file:
        ledger, shape, dtype = _append(file, classes)
    stat = (folder / ARRAY).stat()
    index = {
        "format": FORMAT,
        "key": key,
        **{key: getattr(ledger, key) for key in ("names", "counts", "digests", "copies")},
        "notes": dict(notes),
        "shape": shape,
        "dtype": dtype,
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
    }
    index["sha256"] = _seal(index)
    write_whole(folder / INDEX, json.dumps(index, indent=1))


def _append(file: BinaryIO, classes: Iterable[Class]) -> tuple[Ledger, list[int], str]:
    """Write the items of all classes as one array whose length is known at the end only."""
    ledger, shape, dtype, start = Ledger(), None, None, 0
    for some in classes:
        items = ledger.enter(some)
        if shape is None:
            shape, dtype = items.shape[1:], items.dtype
            start = _header(file, (0, *shape), dtype)
        if (items.shape[1:], items.dtype) != (shape, dtype) or str(dtype) not in DTYPES:
            raise ValueError(f"{some.name}: {items.dtype} {items.shape[1:]} after {dtype} {shape}")
        file.write(items.data)
    if shape is None or dtype is None:
        raise ValueError("no classes to be kept")
    whole = [sum(ledger.counts), *shape]
    file.seek(0)
    if _header(file, tuple(whole), dtype) != start:  # numpy leaves room for a length that grows
        raise ValueError("the header of the array has outgrown its room")
    return ledger, whole, str(dtype)


def _header(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> int:
    about = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, about)
    return file.tell()
