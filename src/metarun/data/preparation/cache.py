"""Cache of prepared data sets on disk: prepared once, under a lock, then memory-mapped.

The folder of a data set holds `metarun_items.npy` (M, *item shape) and `metarun_index.json`: names,
counts and digests of the classes, equal items, the cache key, the root of the original files, and
size and modification time of the array file. The array is written class by class, so a data set may
be larger than memory. Each file is replaced atomically, the index last, and an index that does not
match the array is ignored, so a reader sees the old or the new data set. Other files in the folder
are not touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from metarun.data.preparation.array_file import write_array
from metarun.data.preparation.cached_files import ARRAY, INDEX, LOCK, MAX_BYTES, hold
from metarun.data.preparation.images import Class, Images
from metarun.errors import Refused
from metarun.files import clear_parts, open_file, read_whole, replacing, write_whole

FORMAT = 3

log = logging.getLogger(__name__)


def prepared(
    folder: Path,
    key: str,
    make: Callable[[], Iterable[Class]],
    notes: Mapping[str, Any] = MappingProxyType({}),
    root: Path | None = None,
) -> Images:
    """The data set cached in `folder`; prepares it first if it is missing.

    Concurrent processes wait for the one that prepares it. The operating system releases the lock
    if that process dies.

    Args:
        key: identifies source and preparation; the data set is prepared again if it changes.
        make: yields the classes one by one, with items of equal shape and type; its exceptions are
            passed on and leave the folder unchanged.
        notes: plain containers to store with the data set; read after `make` has ended.
        root: the folder of the original files, if any; stored for `metarun list data`.

    Returns:
        The data set, with `items` as a read-only memory map.

    Raises:
        Refused: the folder is not writable.
    """
    if (images := stored(folder, key)) is not None:
        return images
    with _locked(folder):  # another process may have prepared it in the meantime
        if (images := stored(folder, key)) is not None:
            return images
        log.info("preparing %s, once", folder)
        try:
            with _cache_errors(folder):
                _write(folder, key, _from_source(make), notes, root)
                images = stored(folder, key)
        except _SourceError as error:
            raise error.cause from None
    if images is None:
        raise Refused(f"data.cache={folder.parent}: {folder.name} cannot be read back from there")
    return images


def stored(folder: Path, key: str) -> Images | None:
    """The data set in `folder` if it is intact and was prepared for `key`, else `None`.

    If the modification time of the array differs from the recorded one, as in a copy or after
    damage, the digests of all classes are verified; otherwise only the file size is.
    """
    try:
        index = json.loads(read_whole(folder / INDEX, MAX_BYTES))
        checksum = index.pop("sha256")
        if checksum != _index_hash(index) or (index["format"], index["key"]) != (FORMAT, key):
            return None
        path = folder / ARRAY
        with open_file(path):  # refuses a pipe, which may never end
            items = np.load(path, mmap_mode="r", allow_pickle=False)
        hold(items, path)
        images = Images(
            np.asarray(items),  # still memory-mapped; indexing is faster than on a np.memmap
            tuple(index["names"]),
            tuple(index["counts"]),
            tuple(index["digests"]),
            tuple(tuple((k, name) for k, name in group) for group in index["copies"]),
            index["notes"],
        )
        stat = path.stat()
        layout = (list(items.shape), str(items.dtype), stat.st_size)
        if layout != (index["shape"], index["dtype"], index["bytes"]):
            return None
        if stat.st_mtime_ns != index["mtime_ns"]:
            current = Images.of(images.items, images.names, images.counts)
            return images if current.digests == images.digests else None
        return images
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, RecursionError):
        return None


def _index_hash(index: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


class _SourceError(Exception):
    """Wraps an error of reading the source data, as opposed to writing the cache."""

    def __init__(self, cause: BaseException) -> None:
        self.cause = cause


def _from_source(make: Callable[[], Iterable[Class]]) -> Iterator[Class]:
    try:
        yield from make()
    except Exception as error:
        raise _SourceError(error) from error


@contextlib.contextmanager
def _cache_errors(folder: Path) -> Iterator[None]:
    """Convert errors of the cache folder to one line that names the config key."""
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
    with _cache_errors(folder):
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


def _write(
    folder: Path,
    key: str,
    classes: Iterable[Class],
    notes: Mapping[str, Any],
    root: Path | None,
) -> None:
    """Write the array, then the index that describes it."""
    clear_parts(folder)
    with replacing(folder / ARRAY) as file:
        ledger, shape, dtype = write_array(file, classes)
    stat = (folder / ARRAY).stat()
    index = {
        "format": FORMAT,
        "key": key,
        "root": root and str(root.absolute()).encode("utf-8", "backslashreplace").decode(),
        **{key: getattr(ledger, key) for key in ("names", "counts", "digests", "copies")},
        "notes": dict(notes),
        "shape": shape,
        "dtype": dtype,
        "bytes": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
    }
    index["sha256"] = _index_hash(index)
    write_whole(folder / INDEX, json.dumps(index, indent=1))
