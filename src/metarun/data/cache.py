"""Prepared data sets on disk: made once, under a lock, memory-mapped ever after.

A data set's folder holds `items-HASH.npy` (uint8, M × C × H × W) and `index.json`: the names,
counts and digests of its classes, the key it was made for, and the size and time of the array's
file. The index is replaced in one step and names its array, so a reader sees the old data set or
the new one, never half of either, and what a killed process left behind is not looked at.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from metarun.data.classes import Images
from metarun.errors import Refused

FORMAT = 1
INDEX = "index.json"

log = logging.getLogger(__name__)


def prepared(folder: Path, key: str, make: Callable[[], Images]) -> Images:
    """The data set kept in `folder`, made first if it is not there.

    Processes that ask at the same time wait for the one that makes it; the lock ends with its
    holder, however that dies.

    Args:
        key: identifies source and preparation; another key than the stored one makes it anew.
        make: prepares the data set; what it raises is passed on and leaves the folder as it was.

    Returns:
        the data set, `items` being a read-only memory map.

    Raises:
        Refused: the folder cannot be written to.
    """
    images = stored(folder, key)
    if images is not None:
        return images
    with _locked(folder):
        images = stored(folder, key)  # another process may have made it while this one waited
        if images is not None:
            return images
        log.info("preparing %s, once", folder)
        made = make()
        with _naming_the_key(folder):
            _write(folder, key, made)
            images = stored(folder, key)
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
        path = folder / index["array"]
        items = np.load(path, mmap_mode="r", allow_pickle=False)
        known = Images(
            np.asarray(items),  # still mapped; indexing a plain array is quicker than a memmap
            tuple(index["names"]),
            tuple(index["counts"]),
            tuple(index["digests"]),
        )
        stat = path.stat()
        if (list(items.shape), str(items.dtype)) != (index["shape"], "uint8"):
            return None
        if stat.st_size != index["bytes"]:
            return None
        if stat.st_mtime_ns != index["mtime_ns"]:
            found = Images.of(known.items, known.names, known.counts)
            return known if found.digests == known.digests else None
        return known
    except (OSError, ValueError, KeyError, TypeError, AttributeError, EOFError):
        return None


def _seal(index: dict[str, object]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


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

    lock = FileLock(folder / ".lock")
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


def _write(folder: Path, key: str, images: Images) -> None:
    """Write the array, then the index that names it, and clear away everything else."""
    index = {
        "format": FORMAT,
        "key": key,
        "names": list(images.names),
        "counts": list(images.counts),
        "digests": list(images.digests),
        "shape": list(images.items.shape),
    }
    name = f"items-{_seal(index)[:16]}.npy"
    array, table = folder / name, folder / INDEX
    try:
        with _replacing(array) as file:
            np.save(file, np.ascontiguousarray(images.items), allow_pickle=False)
        stat = array.stat()
        index |= {"array": name, "bytes": stat.st_size, "mtime_ns": stat.st_mtime_ns}
        index["sha256"] = _seal(index)
        with _replacing(table) as file:
            file.write(json.dumps(index, indent=1).encode())
    finally:
        _clear(folder)


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` when it is complete and on disk, else vanishes."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _clear(folder: Path) -> None:
    """Remove parts that a killed process left and arrays that no index names.

    Called under the lock: nobody else is writing. A reader that has an old array mapped keeps it.
    """
    try:
        current = json.loads((folder / INDEX).read_bytes())["array"]
    except (OSError, ValueError, KeyError, TypeError):
        current = None
    for path in [*folder.glob(".*.part"), *folder.glob("items-*.npy")]:
        if path.name != current:
            with contextlib.suppress(OSError):
                path.unlink()
