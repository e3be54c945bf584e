"""Run the jobs of a sweep on a Slurm cluster, or on this machine as a test of it, by submitit."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from metarun.errors import Interrupted, complain
from metarun.process import print_anything, set_up
from metarun.sweeps.job import Job
from metarun.training.display import console

CLUSTERS = {"slurm": "slurm", "submitit_local": "local"}  # launcher → cluster of submitit
SHARED = ("name", "timeout_min", "mem_gb", "nodes", "cpus_per_task", "gpus_per_node")
SHARED += ("tasks_per_node", "stderr_to_stdout")  # parameters that all clusters of submitit have
NOTICES = ("SIGUSR1", "SIGUSR2")  # that submitit handles: sent before a timeout or a preemption
POLL_SECONDS = 0.5  # between checks whether a job has ended


@dataclass(frozen=True)
class Submitted:
    """What submitit calls in the process of a job."""

    job: Job

    def __call__(self) -> int:
        """Run the job, and return its exit code. A job that Slurm has restarted is resumed."""
        restarted = os.environ.get("SLURM_RESTART_COUNT", "0") not in ("", "0")
        job = self.job.resumed() if restarted else self.job
        print_anything()
        with set_up(job.number), _delayed_notices():
            return job()

    def checkpoint(self) -> Any:
        """Return the submission of an interrupted job, which resumes the run in its folder."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(Submitted(self.job.resumed()))


def run_submitted(jobs: Sequence[Job], launcher: str, keys: Mapping[str, Any]) -> bool:
    """Submit the jobs, and print each as soon as it ends; return whether one of them failed.

    Args:
        launcher: the name of the launcher.
        keys: the values of `hydra.launcher`.
    """
    import submitit

    cluster = CLUSTERS[launcher]
    keys = {key: value for key, value in keys.items() if value is not None}
    folder, count = keys.pop("submitit_folder"), keys.pop("max_num_timeout", None)
    limit = {} if count is None else {f"{cluster}_max_num_timeout": count}
    executor = submitit.AutoExecutor(folder=folder, cluster=cluster, **limit)
    executor.update_parameters(
        **{key if key in SHARED else f"{cluster}_{key}": value for key, value in keys.items()}
    )
    with executor.batch():
        running = {executor.submit(Submitted(job)): job for job in jobs}
    _say(f"{len(jobs)} jobs submitted; their logs are in {Path(folder).parent}")
    failed = False
    while running:
        for submitted in [submitted for submitted in running if submitted.done()]:
            failed |= _failed(submitted, running.pop(submitted).number)
        time.sleep(POLL_SECONDS)
    return failed


def _failed(submitted: Any, number: int) -> bool:
    """Print the errors and the outcome of a job that has ended; return whether it failed."""
    file, log = submitted.paths.stderr, submitted.stderr()
    if log is None:  # stderr_to_stdout=true
        file, log = submitted.paths.stdout, submitted.stdout()
    for line in (log or "").splitlines():
        if line.startswith("metarun: "):  # the errors in the log of the job
            complain(line.removeprefix("metarun: "))
    try:
        code = submitted.results()[0]
    except Exception:  # submitit raises errors of many types
        complain(f"job {number}: ended without a result; its log: {file}")
        return True
    if code == 0:
        _say(f"job {number}  finished")
    return code != 0


def _say(line: str) -> None:
    """Print a line, unless the reader of the output has exited."""
    console().print(line, markup=False, soft_wrap=True)


@contextlib.contextmanager
def _delayed_notices() -> Iterator[None]:
    """While entered, call submitit's signal handlers only after the job has saved its state.

    They submit the job again and exit, and would otherwise do so in the middle of a step.
    """
    delayed: list[tuple[Callable[..., object], int]] = []
    numbers = [getattr(signal, name) for name in NOTICES if hasattr(signal, name)]
    handlers = {n: handler for n in numbers if callable(handler := signal.getsignal(n))}

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
