"""One process at a time works in a run's folder; others can see that it does."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from metarun.errors import Occupied, Refused
from metarun.files import read_whole, write_whole
from metarun.runs import metrics

LOCK = ".metarun.lock"
HOLDER = ".metarun.holder"  # says who has the lock; means nothing while nobody has it


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """While entered, no other process trains in the folder `out`. It ends with the process.

    Raises:
        Occupied: another one does.
        Refused: the folder cannot be written to.
    """
    for name in (LOCK, HOLDER, "run.log", metrics.NAME):  # they are written to, not replaced
        if (out / name).is_symlink():
            raise Refused(f"{out / name}: is a link; a run's own files are not")
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Occupied(f"{out}: {_holder(out)} is running in this folder") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{out}: cannot be locked ({reason})") from error
    try:
        with contextlib.suppress(OSError):  # it is for messages only
            told = {"pid": os.getpid(), "host": socket.gethostname()}
            write_whole(out / HOLDER, json.dumps(told))
        yield
    finally:
        with contextlib.suppress(OSError):
            (out / HOLDER).unlink()
        lock.release()


def at_work(out: Path) -> bool:
    """Does a process work in this folder? Asking takes no lock, which might disturb one."""
    if (told := _told(out)) is None:
        return False
    pid, host = told
    if host != socket.gethostname():
        return True  # cannot be known from here
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # the process is another user's
    except (OSError, OverflowError):
        return False
    return not _is_over(pid)


def _is_over(pid: int) -> bool:
    """Has the process ended, though nobody has asked how? In a container perhaps nobody does."""
    try:
        told = read_whole(Path(f"/proc/{pid}/stat")).decode("utf-8", "replace")
    except OSError:  # another system than Linux
        return False
    return told.rpartition(")")[2].split()[:1] == ["Z"]


def _holder(out: Path) -> str:
    told = _told(out)
    return "another process" if told is None else f"process {told[0]} on {told[1]}"


def _told(out: Path) -> tuple[int, str] | None:
    """Process and host of whoever has the folder, if they are written down."""
    try:
        told = json.loads(read_whole(out / HOLDER, 1000))
        pid = int(told["pid"])
        return (pid, str(told["host"])) if pid > 0 else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
