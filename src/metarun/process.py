"""Setup of a process: of a command, or of a worker that runs the jobs of a sweep."""

from __future__ import annotations

import errno
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from copy import copy
from typing import Any

from metarun.errors import complain, say

# What a command changes, and restores for a caller from Python.
VARIABLES = ("HYDRA_FULL_ERROR", "METARUN_DATA", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR")
VARIABLES += ("GLOO_SOCKET_IFNAME",)
HYDRA_STATE = ("GlobalHydra", "HydraConfig", "VersionBase")

_job: int | None = None


def job_label() -> str:
    """`job 3` in a process that runs this job of a sweep in parallel to others, else empty."""
    return "" if _job is None else f"job {_job}"


@contextmanager
def set_up(job: int | None = None) -> Iterator[None]:
    """A context that prints warnings and progress as a command does.

    When it ends, environment variables, the state of Hydra and the settings of `logging` are as
    before.

    Args:
        job: the number of the job that runs in this process, if other jobs may run in parallel.
    """
    global _job
    environment = {name: os.environ.get(name) for name in VARIABLES}
    hydra_state = {kind: copy(instance) for kind, instance in _hydra_state()}
    os.environ["HYDRA_FULL_ERROR"] = "1"  # metarun prints Hydra's errors itself
    if not os.environ.get("METARUN_DATA"):  # treat an empty value as unset
        os.environ.pop("METARUN_DATA", None)
    raising, logging.raiseExceptions = logging.raiseExceptions, False  # a pipe's reader may exit
    log, of_matplotlib = map(logging.getLogger, ("metarun", "matplotlib"))
    levels = log.level, of_matplotlib.level
    of_matplotlib.setLevel(logging.ERROR)  # it warns if there is no home folder
    log.setLevel(logging.INFO)
    log.addHandler(screen := _Screen())
    before, _job = _job, job
    try:
        yield
    finally:
        _job = before
        log.removeHandler(screen)
        log.setLevel(levels[0])
        of_matplotlib.setLevel(levels[1])
        logging.raiseExceptions = raising
        for kind, _ in _hydra_state():
            del type(kind)._instances[kind]
        for kind, instance in hydra_state.items():
            type(kind)._instances[kind] = instance
        for name, value in environment.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def _hydra_state() -> list[tuple[Any, Any]]:
    """The classes of Hydra's global objects, and their instances; imports nothing."""
    module = sys.modules.get("hydra.core.singleton")
    instances = module.Singleton._instances if module else {}
    return [(kind, found) for kind, found in instances.items() if kind.__name__ in HYDRA_STATE]


@contextmanager
def replacing_characters() -> Iterator[None]:
    """A context in which characters that standard output cannot encode, such as ±, are replaced."""
    streams = [s for s in (sys.stdout, sys.stderr) if hasattr(s, "reconfigure")]
    before = [stream.errors for stream in streams]
    try:
        for stream in streams:
            stream.reconfigure(errors="replace")
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            stream.reconfigure(errors=errors)


def print_anything() -> None:
    """Print without errors that would end a run.

    Characters that the terminal cannot encode, such as ±, are replaced. Output to a terminal that
    has been closed is discarded.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if hasattr(stream, "reconfigure"):
            if stream.isatty():
                buffer = io.BufferedWriter(_Terminal(stream.fileno(), "wb", closefd=False))
                stream = io.TextIOWrapper(buffer, stream.encoding, line_buffering=True)
                setattr(sys, name, stream)
            stream.reconfigure(errors="replace")


class _Terminal(io.FileIO):
    """A terminal that discards output after it has been closed."""

    def write(self, data: bytes | memoryview) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return memoryview(data).nbytes


def describe(error: Exception) -> str:
    """An unexpected error on one line."""
    text = " ".join(str(error).split()) or "no message"
    return f"{type(error).__name__}: {text} (METARUN_TRACEBACK=1 shows where)"


class _Screen(logging.Handler):
    """Prints warnings, and the progress messages of `metarun.data`."""

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno == logging.WARNING:  # errors end the command, which prints them
            complain(": ".join(filter(None, (job_label(), record.getMessage()))))
        elif record.levelno == logging.INFO and record.name.startswith("metarun.data"):
            say("  ".join(filter(None, (job_label(), record.getMessage()))))
