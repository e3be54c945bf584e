"""Jobs of a sweep side by side, in joblib's processes, which import torch once and are kept."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import active_children
from types import FrameType
from typing import Any

from metarun.process import describe
from metarun.sweeps import worker

SIGNALS = {signal.SIGINT, signal.SIGTERM}
IDLE = 300  # seconds after which a worker without a job ends

_workers: Any = None  # kept from one batch of jobs to the next


class Lost:
    """A worker process was killed, and what was running beside it ended with it."""


class Asked:
    """How often Ctrl-C or SIGTERM came while this process waited for its workers."""

    def __init__(self) -> None:
        self.times = 0

    def note(self, number: int, frame: FrameType | None) -> None:
        """The first is passed on as a request, the second ends jobs, the third processes."""
        self.times += 1
        if self.times > 2:
            raise KeyboardInterrupt
        for process in active_children():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)


def run_jobs(
    calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], processes: int, threads: int
) -> Iterator[dict[int, Any]]:
    """Call each function with its arguments, `processes` at a time.

    Yields:
        By its number, what a call returned, as soon as it did, or a `worker.Failure`, or `Lost`;
        several that ended at once together.

    Raises:
        KeyboardInterrupt: after all that was running has come to an end.
    """
    waiting, running = list(enumerate(calls))[::-1], dict[Future, int]()
    asked = Asked()
    try:
        with _handled(asked.note):
            while running or (waiting and not asked.times):
                while waiting and len(running) < processes and not asked.times:
                    number, (function, arguments) = waiting.pop()
                    running[_submit(processes, threads, function, *arguments)] = number
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                yield {running.pop(future): _outcome(future) for future in done}
    except BaseException:
        close(kill=True)
        raise
    if asked.times:
        raise KeyboardInterrupt


def _outcome(future: Future) -> Any:
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return Lost()
    return future.result() if error is None else worker.Failure(describe(error))


def _submit(processes: int, threads: int, function: Callable[..., Any], *arguments: Any) -> Future:
    """Hand a call to the workers; those that it starts hold signals back until they are ready."""
    from joblib.externals.loky import get_reusable_executor

    global _workers
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        for attempts_left in (1, 0):
            _workers = get_reusable_executor(
                max_workers=processes,
                timeout=IDLE,
                initializer=worker.begin,
                initargs=(os.getpid(),),
                env=dict.fromkeys(limits, str(threads)),
            )
            try:
                return _workers.submit(worker.call, function, *arguments)
            except BrokenProcessPool:  # one was killed just now: others take their place
                if not attempts_left:
                    raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def close(kill: bool = False) -> None:
    """End the workers, if there are any."""
    global _workers
    if _workers is not None:
        _workers.shutdown(wait=True, kill_workers=kill)
        _workers = None


@contextmanager
def _handled(note: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # others may not set handlers
        yield
        return
    before = {number: signal.signal(number, note) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
