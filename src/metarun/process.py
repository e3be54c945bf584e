"""What a process sets up before it works: the one that was started, and those that run jobs."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from metarun.errors import complain

_job: int | None = None


def speaker() -> str:
    """`job 3` in a process that is at this job of a sweep, beside others; else nothing."""
    return "" if _job is None else f"job {_job}"


@contextmanager
def set_up(job: int | None = None) -> Iterator[None]:
    """While entered, this process speaks as a command does.

    Args:
        job: the number of the job of a sweep that it is at, if there may be others beside it.
    """
    global _job
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra's errors are ours to print
    if not os.environ.get("METARUN_DATA"):  # set to nothing is not set
        os.environ.pop("METARUN_DATA", None)
    logging.raiseExceptions = False  # a closed pipe is no news
    log = logging.getLogger("metarun")
    log.setLevel(logging.INFO)
    log.addHandler(screen := _Screen())
    before, _job = _job, job
    try:
        yield
    finally:
        _job = before
        log.removeHandler(screen)


def print_anything() -> None:
    """A terminal without ± still gets its figures."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def describe(error: Exception) -> str:
    """An error that nobody expected, on one line."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text} (METARUN_TRACEBACK=1 shows where)"


class _Screen(logging.Handler):
    """Shows warnings, and what the data layer does while one waits."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:  # errors end the command, which says so
            complain(": ".join(filter(None, (speaker(), record.getMessage()))))
        elif record.levelno == logging.INFO and record.name.startswith("metarun.data"):
            print("  ".join(filter(None, (speaker(), record.getMessage()))), flush=True)
