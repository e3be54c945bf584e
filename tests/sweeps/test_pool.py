"""Workers: kept from job to job, asked to stop once, and not missed by the others when killed."""

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
def closed() -> Iterator[None]:
    yield
    pool.close()


def outcomes(*calls: tuple[Callable[..., Any], tuple[Any, ...]]) -> list[Any]:
    found: dict[int, Any] = {}
    for ended in pool.run_jobs(calls, 2, 1):
        found |= ended
    return [found[number] for number in range(len(calls))]


def who(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_workers_are_kept_from_one_batch_to_the_next_and_end_with_it() -> None:
    first, second = (outcomes(*[(who, (0.05,))] * 6) for _ in range(2))
    assert os.getpid() not in first
    assert len(set(first)) <= 2
    assert set(second) <= set(first)
    pool.close()
    for pid in set(first):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


class Stubborn(Exception):
    """One that cannot be pickled, as it cannot be made again."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one)
        self.lock = threading.Lock()


def fail(stubborn: bool) -> None:
    raise Stubborn("no", "luck") if stubborn else ValueError("no luck")


def test_an_error_ends_its_own_call_alone_even_one_that_cannot_be_sent() -> None:
    a, b, c = outcomes((fail, (True,)), (fail, (False,)), (who, (0,)))
    assert (a.line.split(" (")[0], b.line.split(" (")[0]) == ("Stubborn: no", "ValueError: no luck")
    assert isinstance(c, int)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_after_a_worker_was_killed_others_take_its_place() -> None:
    found = outcomes((die, ()), (who, (60,)), (who, (0,)), (who, (0,)))
    assert [type(one) for one in found] == [pool.Lost, pool.Lost, int, int]


def patient(folder: str) -> str:
    """What a job does: it is at work, and answers the first SIGTERM when it is safe."""
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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_whoever_is_asked_to_stop_each_worker_is_asked_once(number: int, tmp_path: Path) -> None:
    """Ctrl-C on a terminal reaches all processes, SIGTERM this one alone."""

    def ask() -> None:
        while len(list(tmp_path.iterdir())) < 2:
            time.sleep(0.02)
        time.sleep(0.1)
        workers = [int(path.name) for path in tmp_path.iterdir()]
        for pid in [os.getpid(), *(workers if number == signal.SIGINT else [])]:
            os.kill(pid, number)

    before = signal.getsignal(number)
    threading.Thread(target=ask, daemon=True).start()
    found: dict[int, Any] = {}
    with pytest.raises(KeyboardInterrupt):
        for ended in pool.run_jobs([(patient, (str(tmp_path),))] * 4, 2, 1):
            found |= ended
    assert found == {0: "saved", 1: "saved"}
    assert signal.getsignal(number) is before


def test_workers_end_after_a_parent_that_was_killed(tmp_path: Path) -> None:
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
