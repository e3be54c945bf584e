"""Run a job of a sweep in the main process or a worker process, and handle its signals."""

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

NOTICES = tuple(  # signals that submitit sends before a timeout or a preemption
    getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)
)

_in_pool = False  # whether this process is a worker of `pool`
_stopped = False  # whether it was told to stop: it starts no other job
_busy = False  # whether it is running a job


def attempt(cfg: DictConfig, go_on: bool, main_pid: int, jobs: int | None = None) -> float | None:
    """Run a job; print its errors instead of raising them, so that the other jobs still run.

    Args:
        go_on: whether the sweep is resumed.
        main_pid: the id of the process that runs the sweep; jobs may run in other processes.
        jobs: the number of jobs in the sweep, if it is known.

    Returns:
        The objective of the job (`job.job`), `nan` if it failed, `None` if it was not run.

    Raises:
        KeyboardInterrupt: the process was told to stop, and the job has saved its state.
    """
    number = HydraConfig.get().job.num
    if os.getpid() == main_pid:
        return _print_errors(cfg, number, go_on, jobs)
    print_anything()
    requeued = os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")
    with set_up(number), _delay_notices():
        return _run_in_worker(cfg, number, go_on or requeued)


def _print_errors(
    cfg: DictConfig, number: int, go_on: bool, jobs: int | None = None
) -> float | None:
    """Run a job or a trial; print its errors and return `nan` if it fails."""
    from metarun.training.display import console

    try:
        return trial.run_trial(cfg, go_on) if trial.TRIAL in cfg else job(cfg, go_on, jobs)
    except Occupied as occupied:
        console().print(f"  skipped: {occupied}", markup=False, soft_wrap=True)
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


def _run_in_worker(cfg: DictConfig, number: int, go_on: bool) -> float | None:
    """Run a job in a worker process, unless the process was told to stop."""
    global _busy, _stopped
    if _stopped:
        return None
    try:
        _busy = True
        return _print_errors(cfg, number, go_on)
    except KeyboardInterrupt:
        _stopped = True
        if not _in_pool:
            raise
        return None  # the main process of a pool raises the exception itself
    finally:
        _busy = False


@dataclass(frozen=True)
class Failure:
    """The error that a call raised, as one line of text."""

    line: str


def call(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call the function; return its value, or a `Failure` if it raises an error.

    An error that cannot be pickled would end a joblib worker.
    """
    try:
        return function(*arguments)
    except Exception as error:
        return Failure(describe(error))


def begin(parent: int) -> None:
    """Initialise a worker: only its parent can stop it, and it exits when the parent does.

    Ctrl-C in a terminal sends SIGINT to all processes, and a closed terminal SIGHUP. Workers ignore
    them, and the parent sends SIGTERM to each, so that each receives one request to stop.
    """
    global _in_pool
    _in_pool = True
    signals, interruption.HEEDED = interruption.HEEDED, {signal.SIGTERM}
    for number in signals - {signal.SIGTERM}:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _stop(number: int, frame: FrameType | None) -> None:
    """Handle SIGTERM outside training; `interruption.Stop` handles it during training."""
    global _stopped
    _stopped = True
    if _busy:
        raise KeyboardInterrupt


def _watch(parent: int) -> None:
    """Exit after the parent was killed; a running job saves its state first."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.5)
    while _busy:
        time.sleep(0.1)
    os._exit(1)


@contextlib.contextmanager
def _delay_notices() -> Iterator[None]:
    """While entered, call submitit's signal handlers only after the job has saved its state.

    They submit the job again and exit, and would otherwise do so in the middle of a step.
    """
    delayed: list[tuple[Callable[..., object], int]] = []
    handlers = {
        number: handler
        for number in NOTICES
        if callable(handler := signal.getsignal(number)) and not _in_pool
    }

    def delay(number: int, frame: FrameType | None) -> None:
        delayed.append((handlers[number], number))
        os.kill(os.getpid(), signal.SIGINT)

    for number in handlers:
        signal.signal(number, delay)
    try:
        yield
    except KeyboardInterrupt:
        if not delayed:
            raise
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if delayed:
        handler, number = delayed[0]
        handler(number, None)
        raise Interrupted
