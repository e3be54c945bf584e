"""A run's folder: one process at a time works in it, on what the last checkpoint left there."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from metarun import checkpoint, metrics
from metarun.errors import Occupied, Refused
from metarun.files import clear_parts, make_folder, write_whole
from metarun.saved import keep_config

HOLDER = ".holder"  # says who has the lock; means nothing while nobody has it

log = logging.getLogger(__name__)


@contextlib.contextmanager
def alone_in(out: Path) -> Iterator[None]:
    """While entered, no other process trains in the folder `out`. It ends with the process.

    Raises:
        Occupied: another one does.
        Refused: the folder cannot be written to.
    """
    for name in (".lock", HOLDER, "run.log", metrics.NAME):  # they are written to, not replaced
        if (out / name).is_symlink():
            raise Refused(f"{out / name}: is a link; a run's own files are not")
    lock = FileLock(out / ".lock")
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


@contextlib.contextmanager
def logged(out: Path) -> Iterator[None]:
    """While entered, what is logged is also written to `run.log`."""
    handler = logging.FileHandler(out / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("metarun")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # a full disk, when it flushes
            handler.close()


def prepare(out: Path, config: dict[str, Any], state: dict[str, Any]) -> None:
    """Bring the folder to where `state` is: what was written after it is written again."""
    folder = out / "checkpoints"
    make_folder(folder)
    for place in (out, folder):
        clear_parts(place)
    keep_config(config, out)
    metrics.cut(out, state)
    checkpoint.set_aside(folder)
    if state["best"] is not None:
        best = checkpoint.best_of({**state, "config": config})
        try:
            stale = checkpoint.load(folder / checkpoint.BEST)["step"] != best["step"]
        except Refused as lost:  # also where it was killed between the last one and this
            if isinstance(lost, checkpoint.Damaged):
                log.warning("%s; it is made again", lost)
            stale = True
        if stale:
            checkpoint.save(folder / checkpoint.BEST, best)


def _holder(out: Path) -> str:
    try:
        told = json.loads((out / HOLDER).read_text("utf-8"))
        return f"process {int(told['pid'])} on {told['host']}"
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return "another process"
