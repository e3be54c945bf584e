"""Run the jobs of a sweep in parallel, in processes that each run one job after the other."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from types import FrameType

from metarun.errors import complain
from metarun.process import print_anything, set_up
from metarun.sweeps.job import Job
from metarun.training.interruption import HANGUP, handling

SERVE = "from metarun.sweeps.workers import serve; serve()"
PATIENCE = 30.0  # seconds until a process that should end is killed
LIMITS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class _Worker:
    """A process with the end of a connection to it, and the job that it runs."""

    def __init__(self, threads: int) -> None:
        self.job: Job | None = None
        self.connection, its_end = Pipe()
        with its_end:
            self.process = subprocess.Popen(
                [sys.executable, "-P", "-c", SERVE],
                stdin=its_end.fileno(),
                env={**os.environ, **dict.fromkeys(LIMITS, str(threads))},
                start_new_session=True,  # Ctrl-C is for this process, which stops the others once
            )

    def start(self, job: Job) -> None:
        """Send a job; if the process has been killed, `outcome` will tell."""
        self.job = job
        with contextlib.suppress(OSError):
            self.connection.send(job)

    def end(self) -> None:
        """Wait for the process, which has no job and no connection."""
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def outcome(self) -> int | None:
        """Return the exit code of the job, or `None` if the process has ended before it."""
        try:
            return self.connection.recv()
        except (EOFError, OSError):
            self.process.wait()
            return None


def run_in_parallel(jobs: Sequence[Job], processes: int, threads: int) -> bool:
    """Run the jobs, `processes` at a time; return whether one of them failed.

    The first signal lets each process save its job, the second stops the jobs at once, and the
    third kills the processes. SIGHUP, which may be sent twice, counts as the first only.

    Raises:
        KeyboardInterrupt: a signal stopped the jobs, and all processes have ended.
    """
    waiting, workers, signals, failed = list(jobs)[::-1], list[_Worker](), 0, False

    def stop(number: int, frame: FrameType | None) -> None:
        nonlocal signals
        if number == HANGUP and signals:
            return
        signals += 1
        if signals > 2:
            raise KeyboardInterrupt
        for worker in workers:
            worker.process.terminate()

    try:
        with handling(stop):
            while True:
                idle = [worker for worker in workers if worker.job is None]
                while waiting and not signals and (idle or len(workers) < processes):
                    if not idle:
                        workers.append(worker := _Worker(threads))
                        idle.append(worker)
                        if signals:  # it arrived before `stop` could know the process
                            worker.process.terminate()
                    idle.pop().start(waiting.pop())
                busy = {worker.connection: worker for worker in workers if worker.job is not None}
                if not busy:
                    break
                for connection in wait(list(busy)):
                    worker = busy[connection]
                    code = worker.outcome()
                    failed |= code != 0
                    if code is None:
                        workers.remove(worker)
                        if not signals:
                            _complain_of_end(worker.job)
                    worker.job = None
    except BaseException:
        for worker in workers:
            worker.process.kill()
        raise
    finally:
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.end()
    if signals:
        raise KeyboardInterrupt
    return failed


def _complain_of_end(job: Job) -> None:
    complain(
        f"job {job.number}: ended because a process was killed, perhaps out of memory; "
        f"go on with: metarun resume={job.sweep.folder}"
    )


def serve() -> None:
    """Run the jobs that arrive on standard input, and answer each with its exit code.

    At SIGTERM, a running job saves its state (`training.interruption`), and the process ends; so it
    does when its parent has ended.
    """
    print_anything()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # KeyboardInterrupt
    parent = Connection(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # processes of a job do not inherit the connection
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(parent, jobs), daemon=True).start()
    try:
        while (job := jobs.get()) is not None:
            with set_up(job.number):
                parent.send(job())
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    except KeyboardInterrupt:
        sys.exit(130)


def _receive(parent: Connection, jobs: queue.SimpleQueue[Job | None]) -> None:
    """Pass on the jobs that arrive; at the end of the connection, stop the process.

    The signal stops a job. It could be lost on a process that is about to wait for the next one:
    Python may run the handler too late, or while an object is finalised, which ignores errors.
    """
    try:
        with contextlib.suppress(EOFError, OSError):
            while True:
                jobs.put(parent.recv())
    finally:
        jobs.put(None)
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
