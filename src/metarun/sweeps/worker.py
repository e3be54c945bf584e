"""A process that runs jobs for the one that has started it (`workers.py`)."""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from multiprocessing.connection import Connection
from types import FrameType

from metarun.process import print_anything, set_up
from metarun.sweeps.job import Job


def serve() -> None:
    """Run the jobs that arrive on standard input, and answer each with its exit code.

    At SIGTERM, a running job saves its state (`training.interruption`), and the process ends; so it
    does when its parent has ended.
    """
    print_anything()
    signal.signal(signal.SIGTERM, _interrupt)
    parent = Connection(os.dup(0))
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)  # processes of a job do not inherit the connection
    jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(parent, jobs), daemon=True).start()
    try:
        while True:
            job = jobs.get()
            with set_up(job.number):
                parent.send(job())
    except KeyboardInterrupt:
        sys.exit(130)


def _receive(parent: Connection, jobs: queue.SimpleQueue[Job]) -> None:
    """Pass on the jobs that arrive; at the end of the connection, stop the process."""
    try:
        while True:
            jobs.put(parent.recv())
    except (EOFError, OSError):
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
