"""A lock on a run folder: only one process at a time may train in it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from metarun.errors import Occupied, Refused
from metarun.files import check_own, read_whole, write_whole
from metarun.runs import metrics

LOCK = ".metarun.lock"
HOLDER = ".metarun.holder"  # process and host of the lock's holder; meaningless if it is not locked


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """A context that holds the lock of the folder `out`. The lock ends with the process.

    Raises:
        Occupied: another process holds the lock.
        Refused: the folder cannot be written to, or a file or folder in it is a link or a pipe.
    """
    # These are opened for writing, not replaced.
    linked = ["wandb"] if (out / "wandb").is_symlink() else []  # a file there only disables W&B
    check_own(out, (LOCK, HOLDER, "run.log", metrics.NAME), ("checkpoints", "evaluations", *linked))
    lock = FileLock(out / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Occupied(f"{out}: {_holder(out)} is running in this folder") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{out}: cannot be locked ({reason})") from error
    try:
        with contextlib.suppress(OSError):  # the file is for messages only
            holder = {"pid": os.getpid(), "host": socket.gethostname()}
            write_whole(out / HOLDER, json.dumps(holder))
        yield
    finally:
        with contextlib.suppress(OSError):
            (out / HOLDER).unlink()
        lock.release()


def at_work(out: Path) -> bool:
    """Whether a process trains in this folder. Does not take the lock, so it disturbs no run."""
    if (holder := _read_holder(out)) is None:
        return False
    pid, host = holder
    if host != socket.gethostname():
        return True  # processes on another host cannot be checked
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True  # the process belongs to another user
    except (OSError, OverflowError):
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    """True for a zombie process, which may exist for long in a container."""
    try:
        stat = read_whole(Path(f"/proc/{pid}/stat")).decode("utf-8", "replace")
    except OSError:  # not on Linux
        return False
    return stat.rpartition(")")[2].split()[:1] == ["Z"]


def _holder(out: Path) -> str:
    holder = _read_holder(out)
    return "another process" if holder is None else f"process {holder[0]} on {holder[1]}"


def _read_holder(out: Path) -> tuple[int, str] | None:
    """Process and host in the holder file; `None` if it is missing or unreadable."""
    try:
        holder = json.loads(read_whole(out / HOLDER, 1000))
        pid = int(holder["pid"])
        return (pid, str(holder["host"])) if pid > 0 else None
    except (OSError, ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
