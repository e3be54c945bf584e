"""Files that are whole or not there, whatever ends the process or the machine."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from metarun.errors import Refused

# A file that is being written is called `.NAME.metarun-….part`, and nothing of a user's is.
MARK, PART = "metarun-", ".part"
UNFINISHED = re.compile(rf"\..+\.{MARK}[a-z0-9_]+{re.escape(PART)}", re.DOTALL)


def write_whole(path: Path, data: bytes | str, keep: Path | None = None) -> None:
    """Write `path`, see `replacing`."""
    with replacing(path, keep) as file:
        file.write(data.encode() if isinstance(data, str) else data)


@contextlib.contextmanager
def replacing(path: Path, keep: Path | None = None) -> Iterator[BinaryIO]:
    """A file that takes the place of `path` so that a reader, or a power cut, finds either whole.

    The new content is on the disk before it takes the name, and so is the name before this returns.

    Args:
        keep: a name in the same folder for the old content. At no moment is there neither the old
            nor the new content under `path`.

    Raises:
        OSError: with `path` as its file; the old content is there still.
    """
    try:
        handle, beside = tempfile.mkstemp(
            dir=path.parent, prefix=f".{path.name}.{MARK}", suffix=PART
        )
        try:
            with os.fdopen(handle, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.chmod(beside, 0o666 & ~_umask())
            if keep is not None and path.exists():
                _keep(path, keep)
            os.replace(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(beside)
            raise
        sync_folder(path.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def make_folder(folder: Path) -> None:
    """Make `folder` and those above it, so that they outlast a power cut."""
    if folder.is_dir():
        return
    if folder.exists():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in `folder` outlast a power cut."""
    if os.name != "posix":  # other systems cannot open a folder
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def clear_parts(folder: Path) -> None:
    """Remove what a killed metarun left half written; nobody else may be writing there."""
    for path in folder.iterdir():
        if UNFINISHED.fullmatch(path.name):
            with contextlib.suppress(OSError):
                path.unlink()


def _keep(path: Path, name: Path) -> None:
    """Give the content of `path` a second name, in place of what had that name."""
    linked = path.with_name(f".{name.name}.{MARK}{os.getpid()}{PART}")
    linked.unlink(missing_ok=True)
    try:
        os.link(path, linked)
    except OSError:  # a file system without links
        write_whole(name, path.read_bytes())
        return
    try:
        os.replace(linked, name)
    finally:
        linked.unlink(missing_ok=True)  # where both are one file already, replacing does nothing


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def read_whole(path: Path, largest: int | None = None) -> bytes:
    """What is in a file; a pipe or a device, which might never end, is none.

    Raises:
        OSError: it cannot be read, is not a file, or has more than `largest` bytes.
    """
    with open(os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0)), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a file", str(path))
        data = file.read() if largest is None else file.read(largest + 1)
    if largest is not None and len(data) > largest:
        raise OSError(errno.EFBIG, f"more than {largest // 2**20} MB", str(path))
    return data


def read_or_refuse(path: Path, largest: int | None = None, called: str = "") -> bytes:
    """As `read_whole`, of a file that the user chose.

    Args:
        called: what a message calls it; default: its path.

    Raises:
        Refused: in place of the `OSError`.
    """
    try:
        return read_whole(path, largest)
    except OSError as error:
        reason = error.strerror or error
        raise Refused(f"{called or path}: cannot be read ({reason})") from error


def new_folder(parent: Path, name: str | None, default: str) -> Path:
    """A folder that was not there: nothing is overwritten."""
    try:
        parent.mkdir(exist_ok=True)
        if name is not None:
            (parent / name).mkdir()
            return parent / name
        number = 1
        while True:
            folder = parent / (default if number == 1 else f"{default}_{number}")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                number += 1
    except OSError as error:
        raise Refused(f"{parent}: cannot be written to ({error.strerror})") from error
