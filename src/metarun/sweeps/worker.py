"""A job of a sweep in whatever process it was given to, and what becomes of that process."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import FrameType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from metarun.errors import Interrupted, Occupied, Refused, RunFailed, complain
from metarun.process import describe, print_anything, set_up
from metarun.sweeps.job import job
from metarun.sweeps.search import trial
from metarun.training import interruption

NOTICES = tuple(  # what submitit sends before a job's time is up, or its place is taken
    getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)

_in_pool = False  # one of several workers of a parent that waits for them
_stopped = False  # asked to stop: takes up no other job
_busy = False  # at a job


def attempt(cfg: DictConfig, go_on: bool, home: int) -> float | None:
    """A job that is shown when it fails, and never ends the others.

    Args:
        go_on: the sweep was begun before.
        home: the process that has the sweep, which this need not be.

    Returns:
        What the job is worth (`job.job`), `nan` where it failed, `None` where it was not run.

    Raises:
        KeyboardInterrupt: it was asked to stop, and saved what it could.
    """
    number = HydraConfig.get().job.num
    if os.getpid() == home:
        return _guarded(cfg, number, go_on)
    print_anything()
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")
    with set_up(number), _noticing():
        return _beside_others(cfg, number, go_on or requeued)


def _guarded(cfg: DictConfig, number: int, go_on: bool) -> float | None:
    from metarun.training.display import console

    try:
        return trial.run_trial(cfg, go_on) if trial.TRIAL in cfg else job(cfg, go_on)
    except Occupied as other:
        console().print(f"  passed over: {other}", markup=False, soft_wrap=True)
        return None
    except Refused as refused:
        lines = refused.mistakes
    except RunFailed as failed:
        lines = [str(failed)]
    except Exception as error:
        if os.environ.get("METARUN_TRACEBACK"):
            raise
        lines = [describe(error)]
    for line in lines:
        complain(line if line.startswith(f"job {number}: ") else f"job {number}: {line}")
    return math.nan


def _beside_others(cfg: DictConfig, number: int, go_on: bool) -> float | None:
    global _busy, _stopped
    if _stopped:
        return None
    try:
        _busy = True
        return _guarded(cfg, number, go_on)
    except KeyboardInterrupt:
        _stopped = True
        if not _in_pool:
            raise
        return None  # whoever waits for the workers knows
    finally:
        _busy = False


@dataclass(frozen=True)
class Failure:
    """What a call raised, as a line."""

    line: str


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What the function returns, or a `Failure`.

    joblib's processes die of an error that cannot be pickled.
    """
    try:
        return function(*arguments)
    except Exception as error:
        return Failure(describe(error))


def begin(parent: int) -> None:
    """The first thing that a worker does: it heeds its parent alone, and outlives it only to save.

    A terminal's Ctrl-C reaches all processes at once. The parent, which waits, passes it on as
    SIGTERM; so a worker is asked once, whoever was asked.
    """
    global _in_pool
    _in_pool = True
    interruption.HEEDED = (signal.SIGTERM,)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT, signal.SIGTERM})
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _stop(number: int, frame: FrameType | None) -> None:
    """SIGTERM outside a training, which has an answer of its own (`interruption.Stop`)."""
    global _stopped
    _stopped = True
    if _busy:
        raise KeyboardInterrupt


def _watch(parent: int) -> None:
    """End with a parent that was killed; a job at work is saved first."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.5)
    while _busy:
        time.sleep(0.1)
    os._exit(1)


@contextlib.contextmanager
def _noticing() -> Iterator[None]:
    """While entered, a notice of submitit's is passed on once the job has saved its state.

    submitit's own answer, to submit the job again and to leave, would come in the middle of a step.
    """
    asked: list[tuple[Callable[..., object], int]] = []
    before = {
        number: handler
        for number in NOTICES
        if callable(handler := signal.getsignal(number)) and not _in_pool
    }

    def note(number: int, frame: FrameType | None) -> None:
        asked.append((before[number], number))
        os.kill(os.getpid(), signal.SIGINT)

    for number in before:
        signal.signal(number, note)
    try:
        yield
    except KeyboardInterrupt:
        if not asked:
            raise
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked:
        handler, number = asked[0]
        handler(number, None)
        raise Interrupted
