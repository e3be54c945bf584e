"""One process at a time in a run's folder, and the others are told which one."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from metarun.errors import Refused

NAME = ".holder"  # says who has the lock; means nothing while nobody has it


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """While entered, no other process trains in the folder `out`. It ends with the process.

    Raises:
        Refused: another one does, or the folder cannot be written to.
    """
    lock = FileLock(out / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise Refused(f"{out}: {_holder(out)} is running in this folder") from None
    except (OSError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise Refused(f"{out}: cannot be locked ({reason})") from error
    try:
        with contextlib.suppress(OSError):  # it is for messages only
            told = {"pid": os.getpid(), "host": socket.gethostname()}
            (out / NAME).write_text(json.dumps(told), "utf-8")
        yield
    finally:
        with contextlib.suppress(OSError):
            (out / NAME).unlink()
        lock.release()


def _holder(out: Path) -> str:
    try:
        told = json.loads((out / NAME).read_text("utf-8"))
        return f"process {int(told['pid'])} on {told['host']}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "another process"
