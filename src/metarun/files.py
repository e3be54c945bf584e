"""Atomic, durable file writes, and bounded reads."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from metarun.errors import Refused, refusing_os_errors

# Name of an unfinished file: `.NAME.metarun-….part`. Files of users do not match it.
MARK, PART = "metarun-", ".part"
UNFINISHED = re.compile(rf"\..+\.{MARK}[a-z0-9_]+{re.escape(PART)}", re.DOTALL)


def write_whole(path: Path, data: bytes | str, keep: Path | None = None) -> None:
    """Write `data` to `path` atomically; arguments and errors as in `replacing`."""
    with replacing(path, keep) as file:
        file.write(data.encode(errors="backslashreplace") if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces `path` atomically when the context ends.

    A reader, or a restart after a power cut, finds the complete old or the complete new content:
    the data is synced to disk before the rename, and the folder after it.

    Args:
        keep: path in the same folder under which to keep the old content. At every moment, `path`
            holds the old or the new content.

    Raises:
        OSError: with `path` as its `filename`. If writing failed, `path` has its old content.
    """
    try:
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{MARK}", suffix=PART)
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(part, 0o666 & ~_umask())
            if keep is not None and path.exists():
                _keep(path, keep)
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents, and sync each new entry to disk."""
    if folder.is_dir():
        return
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Sync the directory entries of `folder` to disk, so that they survive a power cut."""
    if os.name != "posix":  # other systems cannot open a folder as a file
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_parts(folder: Path) -> None:
    """Remove unfinished files of killed processes; no other process may be writing to `folder`."""
    for path in folder.iterdir():
        if UNFINISHED.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _keep(path: Path, name: Path) -> None:
    """Replace the file `name` by a hard link to `path`, or by a copy without link support."""
    linked = path.with_name(f".{name.name}.{MARK}{os.getpid()}{PART}")
    linked.unlink(missing_ok=True)
    try:
        os.link(path, linked)
    except OSError:  # the file system has no hard links
        write_whole(name, path.read_bytes())
        return
    try:
        os.replace(linked, name)
    finally:
        linked.unlink(missing_ok=True)  # os.replace does nothing if both are the same file


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def open_file(path: Path) -> BinaryIO:
    """Open a regular file for reading. Pipes and devices, which may never end, are refused.

    Raises:
        OSError: the file cannot be read, or is not a regular file.
    """
    file = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "not a file", str(path))
    return file


def check_own(folder: Path, files: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Check that these files and folders, if they exist, are in `folder`, and not links or pipes.

    Raises:
        Refused: one of them is not, so that writing to it could change other files or never end.
    """
    kinds = {name: stat.S_ISREG for name in files} | {name: stat.S_ISDIR for name in folders}
    for name, is_kind in kinds.items():
        path = folder / name
        if not os.path.lexists(path) or is_kind(path.lstat().st_mode):
            continue
        kind = "a folder" if is_kind is stat.S_ISDIR else "a file"
        problem = "is a link" if path.is_symlink() else f"is not {kind}"
        raise Refused(f"{path}: {problem}; a run writes only to its own files")


def read_whole(path: Path, largest: int | None = None) -> bytes:
    """Read a regular file, see `open_file`.

    Args:
        largest: maximum size in bytes; by default unlimited.

    Raises:
        OSError: the file cannot be read, is not a regular file, or exceeds `largest` bytes.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if largest is None:
            return file.read()
        if size <= largest:  # a read of `largest` bytes would allocate all of them
            data = file.read(min(size + 2**16, largest) + 1)
            if len(data) <= largest:
                return data
    raise OSError(errno.EFBIG, f"more than {largest // 2**20} MB", str(path))


def read_or_refuse(path: Path, largest: int | None = None, called: str = "") -> bytes:
    """Like `read_whole`, but raise an error that names the file to the user.

    Args:
        called: how the error message refers to the file; by default its path.

    Raises:
        Refused: wherever `read_whole` raises an `OSError`.
    """
    with refusing_os_errors(called or path):
        return read_whole(path, largest)
