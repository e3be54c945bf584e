"""Worker processes are reused, get one request to stop, and are replaced when killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metarun.sweeps import pool, worker

pytest.importorskip("joblib", reason="needs metarun[parallel]")


@pytest.fixture(autouse=True)
def closed_pool() -> Iterator[None]:
    yield
    pool.close()


def outcomes(*calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[Any]:
    results: dict[int, Any] = {}
    for ended in pool.run_jobs(calls, 2, 1):
        results |= ended
    return [results[number] for number in range(len(calls))]


def pid_after(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_workers_are_reused_until_the_pool_is_closed() -> None:
    first, second = (outcomes(*[(pid_after, (0.05,))] * 6) for _ in range(2))
    assert os.getpid() not in first
    assert len(set(first)) <= 2
    assert set(second) <= set(first)
    pool.close()
    for pid in set(first):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


class Unpicklable(Exception):
    """An error that cannot be pickled."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)
        self.lock = threading.Lock()


def fail(unpicklable: bool) -> None:
    raise Unpicklable("no", "luck") if unpicklable else ValueError("no luck")


def test_an_error_that_cannot_be_pickled_ends_only_its_own_call() -> None:
    a, b, c = outcomes((fail, (True,)), (fail, (False,)), (pid_after, (0,)))
    assert (a.line.split(" (")[0], b.line.split(" (")[0]) == (
        "Unpicklable: no",
        "ValueError: no luck",
    )
    assert isinstance(c, int)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_killed_workers_are_replaced() -> None:
    results = outcomes((die, ()), (pid_after, (60,)), (pid_after, (0,)), (pid_after, (0,)))
    assert [type(result) for result in results] == [pool.Lost, pool.Lost, int, int]


def patient(folder: str) -> str:
    """Act as a job: run, and save the state at the first SIGTERM."""
    Path(folder, str(os.getpid())).touch()
    worker._busy = True
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        time.sleep(0.3)
        return "saved"
    finally:
        worker._busy = False
    return "slept"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_worker_gets_one_request_to_stop(number: int, tmp_path: Path) -> None:
    """Ctrl-C in a terminal sends SIGINT to all processes; SIGTERM goes to the parent only.

    A closed terminal sends SIGHUP to all processes, twice.
    """

    def send_signal() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.02)
        time.sleep(0.1)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        for pid in [os.getpid(), *(workers if number != signal.SIGTERM else [])]:
            os.kill(pid, number)
        if number == signal.SIGHUP:
            time.sleep(0.1)
            os.kill(os.getpid(), number)

    previous = signal.getsignal(number)
    threading.Thread(target=send_signal, daemon=True).start()
    results: dict[int, Any] = {}
    with pytest.raises(KeyboardInterrupt):
        for ended in pool.run_jobs([(patient, (str(tmp_path),))] * 4, 2, 1):
            results |= ended
    assert results == {0: "saved", 1: "saved"}
    assert signal.getsignal(number) is previous


def test_workers_exit_after_their_parent_was_killed(tmp_path: Path) -> None:
    code = (
        "from tests.sweeps.test_pool import patient; from metarun.sweeps import pool; "
        f"list(pool.run_jobs([(patient, ({str(tmp_path)!r},))] * 2, 2, 1))"
    )
    root = Path(__file__).parents[2]
    parent = subprocess.Popen(
        [sys.executable, "-c", code], cwd=root, stderr=subprocess.DEVNULL, env=dict(os.environ)
    )
    deadline = time.monotonic() + 60
    while len(pids := [int(path.name) for path in tmp_path.iterdir()]) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "a worker goes on without its parent"
        time.sleep(0.05)
