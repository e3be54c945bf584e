"""The files of prepared data sets and features: found, held while they are used, and deleted.

A prepared folder holds the files `ARRAY` and `INDEX`; see `cache`. The folder of the features of
frozen networks has a file for each network; see `metarun.backbones.feature_file`.
"""

from __future__ import annotations

import contextlib
import json
import os
import weakref
from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NamedTuple

from metarun.errors import Refused
from metarun.files import UNFINISHED, read_whole

try:
    import fcntl
except ImportError:  # Windows, which does not delete files that are in use
    fcntl = None

ARRAY, INDEX, LOCK = "metarun_items.npy", "metarun_index.json", ".metarun.lock"
FEATURES = "metarun_features_{}.sqlite"  # with the hash of the network
MAX_BYTES = 2**28  # of an index: about a million classes
DEPTH = 2  # levels of folders below a cache folder: `glyphs`, `image_folder/NAME`


class Prepared(NamedTuple):
    """A prepared data set on disk, or the features of frozen networks.

    Attributes:
        folder: its folder.
        bytes: total size of the files that metarun wrote.
        modified: when they were written, in seconds since 1970.
        root: the folder of the original files; `None` if there is none or it is not recorded.
    """

    folder: Path
    bytes: int
    modified: float
    root: str | None


def find(folder: Path, depth: int = DEPTH) -> Iterator[Prepared]:
    """Prepared data sets in `folder`, and up to `depth` levels below it. Links are not followed.

    Raises:
        OSError: `folder` cannot be read.
    """
    with os.scandir(folder) as scanned:
        entries = sorted(scanned, key=lambda entry: entry.name)
    files = [e for e in entries if e.is_file(follow_symlinks=False) and _is_own(e.name)]
    if any(entry.name in (ARRAY, INDEX) or _holds_features(entry.name) for entry in files):
        stats = [entry.stat() for entry in files]
        yield Prepared(
            folder,
            sum(stat.st_size for stat in stats),
            max(stat.st_mtime for stat in stats),
            _root(folder),
        )
    for entry in entries if depth else ():
        if entry.is_dir(follow_symlinks=False):
            with contextlib.suppress(OSError):
                yield from find(Path(entry.path), depth - 1)


def hold(array: object, path: Path) -> None:
    """Mark the file `path` as used by this process, for as long as `array` exists.

    Best effort: some network file systems have no locks. Deleted files stay readable where open.
    """
    if fcntl is not None:
        with contextlib.suppress(OSError):
            file = path.open("rb")
            weakref.finalize(array, file.close)
            fcntl.flock(file, fcntl.LOCK_SH)


def delete(folder: Path) -> None:
    """Delete the files of a prepared data set, and no other file.

    Raises:
        Refused: see `unused`; or a file cannot be deleted.
    """
    with unused(folder):
        for name in os.listdir(folder):
            if _is_own(name) and not (folder / name).is_symlink():
                (folder / name).unlink()


@contextlib.contextmanager
def unused(folder: Path) -> Iterator[None]:
    """Check that no process uses or prepares the data set in `folder`, and keep others from it.

    Raises:
        Refused: a process uses or prepares it, or the folder cannot be written to.
    """
    from filelock import FileLock, Timeout

    try:
        with FileLock(folder / LOCK, timeout=0), contextlib.ExitStack() as stack:
            if fcntl is not None and (folder / ARRAY).is_file():
                file = stack.enter_context((folder / ARRAY).open("rb"))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
    except (Timeout, BlockingIOError):
        raise Refused(f"{folder}: a running process uses it; wait until it has ended") from None
    except OSError as error:
        raise Refused(f"{folder}: cannot be deleted ({error.strerror or error})") from error


def _is_own(name: str) -> bool:
    """Whether metarun wrote the file as a part of a prepared data set."""
    unfinished = UNFINISHED.fullmatch(name) and name[1:].startswith((ARRAY, INDEX))
    return name in (ARRAY, INDEX) or bool(unfinished) or _holds_features(name)


def _holds_features(name: str) -> bool:
    return any(fnmatchcase(name, FEATURES.format("*") + end) for end in ("", "-journal"))


def _root(folder: Path) -> str | None:
    try:
        root = json.loads(read_whole(folder / INDEX, MAX_BYTES))["root"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None
    return root if isinstance(root, str) else None
