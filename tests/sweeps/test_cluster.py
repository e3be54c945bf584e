"""Jobs that submitit starts: logged, resumed after a preemption, and restarted by Slurm."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from metarun.runs.lock import HOLDER
from metarun.sweeps.cluster import Submitted
from metarun.sweeps.job import Job
from metarun.sweeps.shared import Sweep
from tests.conftest import TINY
from tests.faults.conftest import assert_same
from tests.sweeps.commands import run_here, start, status


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweeps")


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
    merged = "hydra.launcher.stderr_to_stdout=true"
    again = start(["resume=submitted", *TINY[:2], "hydra/launcher=submitit_local", merged], folder)
    again.stdout.close()  # as by `| head -1`: the sweep goes on
    with again:
        assert again.stderr.readline().rstrip() == line
        again.stderr.read()  # PYTHONWARNINGS: the null device is not closed
    assert again.returncode == 1
    assert len(set((sweep / ".submitit").iterdir()) - previous) == 1
    assert not (folder / "evil").exists()


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
    monkeypatch.setenv("SLURM_RESTART_COUNT", restarts)
    monkeypatch.setattr(Job, "run", lambda self: int(self.sweep.go_on))
    job = Job(0, 1, Path("0"), (), Sweep(Path(), go_on=False))
    assert Submitted(job)() == expected
