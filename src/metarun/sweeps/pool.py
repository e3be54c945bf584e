"""Run the jobs of a sweep in parallel, in joblib worker processes that are reused."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import active_children
from types import FrameType
from typing import Any

from metarun.process import describe
from metarun.sweeps import worker
from metarun.training.interruption import HANGUP, HEEDED, handling

IDLE = 300  # seconds without a job after which a worker exits

_workers: Any = None  # the executor, reused for the next batch of jobs


class Lost:
    """The outcome of a call that was running when one of the worker processes was killed."""


class _StopSignals:
    """Count the signals that arrive while the process waits for its workers, and pass them on."""

    def __init__(self) -> None:
        self.count = 0

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle one signal.

        After the first, each worker saves its job; after the second, jobs stop at once; after the
        third, the workers are killed. SIGHUP, which may be sent twice, is never counted as more
        than the first.
        """
        if number == HANGUP and self.count:
            return
        self.count += 1
        if self.count > 2:
            raise KeyboardInterrupt
        for process in active_children():
            if process.pid is not None:
                os.kill(process.pid, signal.SIGTERM)


def run_jobs(
    calls: Sequence[tuple[Callable[..., Any], tuple[Any, ...]]], processes: int, threads: int
) -> Iterator[dict[int, Any]]:
    """Call each function with its arguments, `processes` at a time.

    Yields:
        The outcomes of the calls that have just ended, by the number of the call: the return
        value, a `worker.Failure` if the call raised an error, or `Lost`.

    Raises:
        KeyboardInterrupt: a signal stopped the jobs, and all running calls have ended.
    """
    waiting, running = list(enumerate(calls))[::-1], dict[Future, int]()
    signals = _StopSignals()
    try:
        with handling(signals.handle):
            while running or (waiting and not signals.count):
                while waiting and len(running) < processes and not signals.count:
                    number, (function, arguments) = waiting.pop()
                    running[_submit(processes, threads, function, *arguments)] = number
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                yield {running.pop(future): _outcome(future) for future in done}
    except BaseException:
        close(kill=True)
        raise
    if signals.count:
        raise KeyboardInterrupt


def _outcome(future: Future) -> Any:
    """Return the value, `worker.Failure` or `Lost` of a call that has ended."""
    error = future.exception()
    if isinstance(error, BrokenProcessPool):
        return Lost()
    return future.result() if error is None else worker.Failure(describe(error))


def _submit(processes: int, threads: int, function: Callable[..., Any], *arguments: Any) -> Future:
    """Submit a call; new workers start with signals blocked and unblock them in `worker.begin`."""
    from joblib.externals.loky import get_reusable_executor

    global _workers
    limits = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    previous_mask = signal.pthread_sigmask(signal.SIG_BLOCK, HEEDED)
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
            except BrokenProcessPool:  # a worker has just been killed: start new ones
                if not attempts_left:
                    raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, previous_mask)


def close(kill: bool = False) -> None:
    """Shut down the workers, if there are any."""
    global _workers
    if _workers is not None:
        _workers.shutdown(wait=True, kill_workers=kill)
        _workers = None
