"""Jobs in parallel: same results, printed as they run, and stopped by one request each."""

from __future__ import annotations

import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from multiprocessing import Pipe
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from metarun.sweeps import workers
from metarun.sweeps.workers import run_in_parallel
from tests.conftest import TINY
from tests.faults.conftest import assert_same
from tests.sweeps.calls import Call, Unreadable
from tests.sweeps.commands import run_here, start, status

JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


SWEEP = [*TINY, "algo=reptile,protonet,fomaml,maml", "algo.inner_steps=1"]


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    """Return the folder of the sweep, run with Hydra's basic launcher."""
    assert run_here(["-m", *SWEEP, f"hydra.sweep.dir={folder}/plain"]) == 1
    return folder / "plain"


@pytest.fixture(scope="module")
def parallel(folder: Path) -> tuple[Path, str, list[str]]:
    """Run the same sweep with two workers; return its folder, output and error lines."""
    done = start(["-m", *SWEEP, *JOBLIB, "hydra.sweep.dir=parallel"], folder)
    out, err = done.communicate()
    assert done.returncode == 1
    return folder / "parallel", out, err.splitlines()


def test_a_result_does_not_depend_on_earlier_jobs(
    plain: Path, parallel: tuple[Path, str, list[str]]
) -> None:
    """Three learners run in two workers, so at least one worker runs two jobs."""
    expected = status(plain)
    assert status(parallel[0]) == expected
    assert sorted(expected.values()) == ["completed"] * 3 + ["failed"]
    for job, job_status in expected.items():
        if job_status == "completed":
            assert_same(parallel[0] / job, plain / job)


def test_each_line_names_its_job(parallel: tuple[Path, str, list[str]]) -> None:
    sweep, out, err = parallel
    (error,) = err
    assert error.startswith("metarun: job 1: algo.inner_steps: no such key")
    first, *lines = out.splitlines()
    assert first.startswith("4 jobs, 2 jobs at a time, 1 thread each, on ")
    table = next(i for i, line in enumerate(lines) if not line.startswith("job "))
    assert all(re.match(r"job \d  \S", line) for line in lines[:table])
    for job in "023":
        words = OmegaConf.load(sweep / job / ".hydra/overrides.yaml")
        texts = [x.partition("  ")[2] for x in lines[:table] if x.startswith(f"job {job} ")]
        assert texts[0] == " ".join(words)
        assert [text[:8] for text in texts[1:-1]] == ["step 2/4", "step 4/4"]
        assert re.match(r"test .* %  validation .* %  \d:\d\d$", texts[-1])


@pytest.mark.skipif(os.name != "posix", reason="needs process groups")
def test_ctrl_c_saves_every_job_and_resume_gives_the_same_results(folder: Path) -> None:
    words = [*TINY, "seed=0,1,2", "steps=40", "eval_every=10", "test_episodes=4"]
    assert run_here(["-m", *words, f"hydra.sweep.dir={folder}/whole"]) == 0

    halves = start(["-m", *words, *JOBLIB, "hydra.sweep.dir=halves"], folder)
    started_jobs: set[str] = set()
    for line in halves.stdout:
        started_jobs |= set(re.findall(r"(job \d)  step", line))
        if len(started_jobs) == 2:
            break
    os.killpg(halves.pid, signal.SIGINT)
    _, err = halves.communicate()
    assert halves.returncode == 130
    message = "metarun: interrupted; the sweep can go on: metarun resume=halves"
    assert err.splitlines() == [message]
    statuses = status(folder / "halves").values()
    assert "interrupted" in statuses
    assert set(statuses) <= {"interrupted", "completed"}

    again = start(["resume=halves", *TINY[:2]], folder)
    out, err = again.communicate()
    assert (again.returncode, err) == (0, "")
    assert "3 jobs, 2 jobs at a time, 1 thread each" in out
    for job in "012":
        assert_same(folder / "halves" / job, folder / "whole" / job)


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return an empty folder; processes can import this module."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    yield tmp_path
    for pid in words(tmp_path):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def words(folder: Path) -> list[int]:
    """Return the process of each job that has started."""
    texts = (file.read_text() for file in sorted(folder.iterdir()))
    return [int(text.split()[0]) for text in texts if text]


def test_processes_are_reused(calls: Path) -> None:
    assert not run_in_parallel([Call(n, calls, 0.05) for n in range(0, 12, 2)], 2, 1)
    pids = words(calls)
    assert len(pids) == 6
    assert os.getpid() not in pids
    assert len(set(pids)) == 2


def test_a_job_that_fails_is_reported(calls: Path) -> None:
    assert run_in_parallel([Call(n, calls) for n in range(3)], 2, 1)
    assert len(words(calls)) == 3


def test_a_killed_process_ends_only_its_own_job(
    calls: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    jobs = [Call(0, calls, -1), *(Call(n, calls, 0.1) for n in (2, 4, 6))]
    assert run_in_parallel(jobs, 2, 1)
    assert len(words(calls)) == 4
    (line,) = capsys.readouterr().err.splitlines()
    assert line == (
        "metarun: job 0: ended because a process was killed, perhaps out of memory; "
        f"go on with: metarun resume={calls}"
    )


def test_a_job_that_cannot_be_read_ends_its_process(calls: Path) -> None:
    assert run_in_parallel([Unreadable(0, calls)], 2, 1)
    assert words(calls) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_each_process_gets_one_request_to_stop(number: int, calls: Path) -> None:
    """Ctrl-C sends SIGINT to all processes of the session; a closed terminal SIGHUP, twice."""

    def send_signal() -> None:
        while len(words(calls)) < 2:
            time.sleep(0.02)
        time.sleep(0.1)
        assert all(os.getsid(pid) != os.getsid(0) for pid in words(calls))
        os.kill(os.getpid(), number)
        if number == signal.SIGHUP:
            time.sleep(0.1)
            os.kill(os.getpid(), number)

    previous = signal.getsignal(number)
    threading.Thread(target=send_signal, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        run_in_parallel([Call(n, calls, 60) for n in range(4)], 2, 1)
    assert [file.read_text().split()[1:] for file in calls.iterdir()] == [["saved"]] * 2
    assert signal.getsignal(number) is previous


def test_a_worker_that_does_not_end_is_killed(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.1)
    monkeypatch.setattr(workers, "SERVE", workers.SERVE + "; import time; time.sleep(60)")
    assert not run_in_parallel([Call(0, calls)], 1, 1)


def test_a_worker_that_waits_ends_without_a_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end of the connection, where the signal is lost."""
    monkeypatch.setattr(workers.signal, "pthread_kill", lambda *_: None)
    parent, its_end = Pipe()
    parent.send("a job")
    parent.close()
    jobs = queue.SimpleQueue()
    workers._receive(its_end, jobs)
    assert [jobs.get(timeout=1), jobs.get(timeout=1)] == ["a job", None]


def test_a_worker_ends_after_its_parent_was_killed(tmp_path: Path) -> None:
    code = (
        "from pathlib import Path; from metarun.sweeps.workers import run_in_parallel; "
        "from tests.sweeps.calls import Call; "
        f"run_in_parallel([Call(n, Path({str(tmp_path)!r}), 60) for n in range(2)], 2, 1)"
    )
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=root, env=environment)
    deadline = time.monotonic() + 60
    while len(texts := [file.read_text() for file in tmp_path.iterdir()]) < 2 or "" in texts:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    parent.kill()
    parent.wait()
    while any(Path(f"/proc/{pid}").exists() for pid in texts):
        assert time.monotonic() < deadline, "a worker goes on without its parent"
        time.sleep(0.05)
    assert {file.read_text() for file in tmp_path.iterdir()} == {f"{pid} saved" for pid in texts}
