"""Jobs in separate processes: same results, printed as they run, and resumed after a stop."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
from omegaconf import OmegaConf

from metarun import cli
from metarun.runs.lock import HOLDER, alone_in
from metarun.sweeps import worker
from tests.conftest import TINY, blank
from tests.faults.conftest import assert_same

Metarun = Callable[..., tuple[int, str, list[str]]]
SCRIPT = str(Path(sys.executable).with_name("metarun"))
JOBLIB = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]


def start(words: Sequence[str], folder: Path) -> subprocess.Popen:
    """Start the command in its own process group, as a terminal does."""
    return subprocess.Popen(
        [SCRIPT, *words],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "PYTHONWARNINGS": "default"},
    )


def run_here(words: Sequence[str]) -> int:
    """Run the command in this process, with Hydra's basic launcher."""
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        return cli.main(words)


def status(sweep: Path) -> dict[str, str]:
    files = sweep.glob("*/result.json")
    return {f.parent.name: json.loads(f.read_text())["status"] for f in files}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("sweeps")


SWEEP = [*TINY, "algo=reptile,protonet,fomaml,maml", "algo.inner_steps=1"]


@pytest.fixture(scope="module")
def plain(folder: Path) -> Path:
    """Return the folder of the sweep, run with Hydra's basic launcher."""
    assert run_here(["-m", *SWEEP, f"hydra.sweep.dir={folder}/plain"]) == 1
    return folder / "plain"


@pytest.fixture(scope="module")
def parallel(folder: Path) -> tuple[Path, str, list[str]]:
    """Run the same sweep with two workers; return its folder, output and error lines."""
    pytest.importorskip("joblib", reason="needs metarun[parallel]")
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
    pytest.importorskip("joblib", reason="needs metarun[parallel]")
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


def test_submitit_runs_and_resumes_jobs(folder: Path) -> None:
    pytest.importorskip("submitit", reason="needs metarun[cluster]")
    words = ["hydra/launcher=submitit_local", "shots=1,90", "hydra.sweep.dir=submitted"]
    done = start(["-m", *TINY[:-1], *words], folder)
    out, err = done.communicate()
    sweep = folder / "submitted"
    assert done.returncode == 1
    (line,) = err.splitlines()
    assert line.startswith("metarun: job 1: shots=90 queries=3: ")
    assert "job 0  finished" in out
    assert status(sweep) == {"0": "completed", "1": "failed"}
    assert OmegaConf.load(sweep / "0/config.yaml").threads == 1

    for pickled in sweep.rglob("*.pkl"):  # resume must not load these files
        pickled.write_bytes(b"cos\nsystem\n(S'touch evil'\ntR.")
    previous = set((sweep / ".submitit").iterdir())
    again = start(["resume=submitted", *TINY[:2]], folder)
    out, err = again.communicate()
    assert again.returncode == 1
    assert err.splitlines() == [line]
    assert len(set((sweep / ".submitit").iterdir()) - previous) == 1
    assert not (folder / "evil").exists()
    assert "job 0  finished" in out


@pytest.mark.slow
def test_a_preempted_job_saves_its_state_and_is_submitted_again(folder: Path) -> None:
    """Submitit sends the job a signal before its timeout; the other jobs are not affected."""
    pytest.importorskip("submitit", reason="needs metarun[cluster]")
    words = [*TINY, "seed=0,1", "steps=200", "eval_every=150", "hydra.sweep.dir=requeued"]
    done = start(["-m", *words, "hydra/launcher=submitit_local"], folder)
    metrics, holder = (folder / "requeued/0" / name for name in ("metrics.jsonl", HOLDER))
    deadline = time.monotonic() + 120
    while not metrics.exists() or len(metrics.read_text().splitlines()) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(json.loads(holder.read_text())["pid"], signal.SIGUSR2)
    _, err = done.communicate()
    assert (done.returncode, err) == (0, "")
    run = json.loads((folder / "requeued/0/result.json").read_text())["run"]
    assert len(run["resumed_with"]) == 1
    (folder / "requeued").rename(folder / "once")
    assert run_here(["-m", *words[:-1], f"hydra.sweep.dir={folder}/requeued"]) == 0
    for job in "01":
        assert_same(folder / "once" / job, folder / "requeued" / job)


@pytest.mark.parametrize(("restarts", "expected"), [("", False), ("0", False), ("2", True)])
def test_a_job_that_slurm_restarts_is_resumed(
    monkeypatch: pytest.MonkeyPatch, restarts: str, expected: bool
) -> None:
    arguments = []
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    monkeypatch.setattr(worker, "job", lambda cfg, go_on, jobs: arguments.append(go_on))
    current = SimpleNamespace(job=SimpleNamespace(num=0))
    monkeypatch.setattr(worker.HydraConfig, "get", staticmethod(lambda: current))
    worker.attempt(OmegaConf.create(), go_on=False, main_pid=-1)
    assert arguments == [expected]


def test_a_job_that_another_process_runs_is_skipped(metarun: Metarun) -> None:
    words = [*TINY, "shots=1,2", "hydra.sweep.dir=sweep"]
    assert metarun("-m", *words)[0] == 0
    Path("sweep/1/result.json").unlink()
    with alone_in(Path("sweep/1")):
        code, out, err = metarun("resume=sweep", *TINY[:2])
    assert (code, err) == (0, [])
    assert f"skipped: {Path.cwd() / 'sweep/1'}: process {os.getpid()} on " in out
    assert not Path("sweep/1/result.json").exists()


def test_a_job_that_another_process_has_finished_is_not_run_again(metarun: Metarun) -> None:
    """Two jobs with the same settings and folder stand for two processes."""
    words = [*TINY, "seed=0,0", "hydra.sweep.subdir=same", "hydra.sweep.dir=sweep"]
    code, out, err = metarun("-m", *words)
    assert (code, err) == (0, [])
    assert out.count("finished before") == 1


def test_jobs_are_counted_and_each_ends_with_its_result(metarun: Metarun) -> None:
    code, out, err = metarun("-m", *TINY, "shots=1,90,2", "hydra.sweep.dir=sweep")
    assert code == 1
    assert err[0].startswith("metarun: job 1: shots=90")
    lines = [line for line in out.splitlines() if line.startswith("job ")]
    assert [line.partition(":")[0] for line in lines] == [
        f"job {i} ({i + 1} of 3)" for i in range(3)
    ]
    results = re.findall(r"^  test [\d.]+ ± .* %  validation .* %  \d:\d\d$", out, re.MULTILINE)
    assert len(results) == 2
    _, out, _ = metarun("resume=sweep", *TINY[:2])
    assert "job 2 (3 of 3): " in out
    assert out.count("  finished before\n  test ") == 2
