"""A sweep validates each job alone, ends with one table, and can go on where it stopped."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from metarun.config.groups import choices
from tests.conftest import OWN, TINY, before_each_step, signal_in_step

Metarun = Callable[..., tuple[int, str, list[str]]]


def status(sweep: str) -> dict[str, str]:
    files = Path(sweep).glob("*/result.json")
    return {f.parent.name: json.loads(f.read_text())["status"] for f in files}


def test_an_invalid_job_fails_alone_and_the_others_run(metarun: Metarun) -> None:
    code, out, err = metarun(
        "-m", *TINY, "algo=protonet,mamml", "shots=1,-1", "hydra.sweep.dir=sweep"
    )
    assert code == 1
    assert status("sweep") == {"0": "completed", "1": "failed", "2": "failed", "3": "failed"}
    offered = ", ".join(choices("algo", str(OWN)))
    assert err == [
        "metarun: job 1: shots=-1: should be greater than or equal to 1",
        f"metarun: job 2: algo=mamml: no such choice; did you mean maml? ({offered})",
        f"metarun: job 3: algo=mamml: no such choice; did you mean maml? ({offered})",
        "metarun: job 3: shots=-1: should be greater than or equal to 1",
    ]
    failed = json.loads(Path("sweep/2/result.json").read_text())
    assert failed["error"] == [err[1].removeprefix("metarun: job 2: ")]
    assert failed["run"]["command"].endswith("algo=mamml shots=1")
    lines = [line.split() for line in out.splitlines()]
    (head,) = (line for line in lines if line[:1] == ["run"])
    assert head == ["run", "algo", "shots", "test", "validation", "steps", "time", "status"]
    rows = [line for line in lines if line[-1:] in (["completed"], ["failed"])]
    assert [row[:3] for row in rows] == [
        *(["0", "protonet", "1"], ["1", "protonet", "-1"]),
        *(["2", "mamml", "1"], ["3", "mamml", "-1"]),
    ]


def test_a_job_that_breaks_down_does_not_end_the_sweep(metarun: Metarun) -> None:
    def fail(step: int) -> None:
        if step == 1:
            raise RuntimeError("no luck")

    with pytest.MonkeyPatch.context() as patch:
        before_each_step(patch, fail)
        code, _, err = metarun("-m", *TINY, "shots=1,2", "hydra.sweep.dir=sweep")
    assert code == 1
    assert err[0].startswith("metarun: job 0: RuntimeError: no luck")
    assert status("sweep") == {"0": "failed", "1": "completed"}


def test_an_interrupted_sweep_goes_on(metarun: Metarun) -> None:
    words = ["-m", *TINY, "shots=1,2,3"]
    metarun(*words, "hydra.sweep.dir=whole")
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(patch, 4 + 2)  # in the second job's second step
        code, _, err = metarun(*words, "hydra.sweep.dir=halves")
    assert code == 130
    assert err == ["metarun: interrupted; the sweep can go on: metarun resume=halves"]
    assert status("halves") == {"0": "completed", "1": "interrupted"}
    first = Path("halves/0/result.json").read_bytes()

    code, _, err = metarun("resume=halves", *TINY[:2])
    assert (code, err) == (0, [])
    assert Path("halves/0/result.json").read_bytes() == first
    for job in "012":
        whole, halves = (
            json.loads(Path(s, job, "result.json").read_text())["test"] for s in ("whole", "halves")
        )
        assert whole == halves


def test_a_job_that_was_refused_is_refused_again(metarun: Metarun) -> None:
    first = metarun("-m", *TINY, "shots=1,90", "hydra.sweep.dir=sweep")
    again = metarun("resume=sweep", *TINY[:2])
    assert first[0] == again[0] == 1
    assert first[2] == again[2]
    assert len(again[2]) == 1
    assert status("sweep") == {"0": "completed", "1": "failed"}


def test_a_sweeps_folder_is_not_used_twice(metarun: Metarun) -> None:
    words = ["-m", *TINY, "shots=1,2", "hydra.sweep.dir=sweep"]
    assert metarun(*words)[0] == 0
    code, _, err = metarun(*words)
    assert code == 2
    assert err[0].startswith("metarun: hydra.sweep.dir=sweep: holds a sweep already;")


def test_jobs_stay_in_the_folder_they_were_called_from(metarun: Metarun) -> None:
    here = Path.cwd()
    metarun("-m", *TINY, "shots=1,2", "hydra.sweep.dir=sweep")
    assert Path.cwd() == here
    assert not Path("sweep/0/sweep").exists()


def test_a_finished_run_in_a_jobs_folder_keeps_its_figures(metarun: Metarun) -> None:
    words = ["-m", *TINY, "shots=1,2", "hydra.sweep.subdir=same", "hydra.sweep.dir=sweep"]
    code, _, err = metarun(*words)
    assert code == 1
    assert any("job 1: out=" in line and "holds a run already" in line for line in err)
    assert status("sweep") == {"same": "completed"}


def test_jobs_in_nested_folders_are_counted(metarun: Metarun) -> None:
    nested = "hydra.sweep.subdir=${algo.distance}/${shots}"
    code, out, _ = metarun("-m", *TINY, "shots=1,90", nested, "hydra.sweep.dir=sweep")
    assert code == 1
    assert "squared_euclidean/90" in out


def test_folders_may_be_named_by_the_number_of_the_job(metarun: Metarun) -> None:
    words = ["shots=1,2", "hydra.sweep.subdir=job${hydra.job.num}", "hydra.sweep.dir=sweep"]
    assert metarun("-m", *TINY, *words)[0] == 0
    assert status("sweep") == {"job0": "completed", "job1": "completed"}
    _, out, _ = metarun("resume=sweep", *TINY[:2])
    assert out.count("finished before") == 2


def test_the_sweeps_folder_may_depend_on_what_its_jobs_share(metarun: Metarun) -> None:
    metarun("-m", *TINY, "shots=1,2", "steps=2", "hydra.sweep.dir=sweep${steps}")
    assert status("sweep2") == {"0": "completed", "1": "completed"}


@pytest.mark.parametrize(
    "content",
    ["", "hydra: 3", "a: [", "hydra: {overrides: {task: ['+hydra.callbacks.x=1'], hydra: []}}"],
)
def test_a_strangers_sweep_is_not_replayed(metarun: Metarun, content: str) -> None:
    Path("sweep").mkdir()
    Path("sweep/multirun.yaml").write_text(content)
    code, _, err = metarun("resume=sweep")
    assert code == 2
    assert err[0].startswith(f"metarun: {Path('sweep/multirun.yaml')}: ")
    assert len(err) == 1


def test_a_sweep_over_seeds_ends_with_their_mean(metarun: Metarun) -> None:
    code, out, _ = metarun("-m", *TINY, "seed=0,1", "shots=1,2", "hydra.sweep.dir=sweep")
    assert code == 0
    assert "test ± 95 % over seeds" in out
    results = [json.loads(Path(f"sweep/{i}/result.json").read_text()) for i in range(4)]
    assert [r["run"]["seed"] for r in results] == [0, 0, 1, 1]
    for shots, pair in ((1, results[0::2]), (2, results[1::2])):
        mean = sum(r["test"]["accuracy"]["mean"] for r in pair) / 2
        assert any(
            line.split()[:2] == [str(shots), f"{100 * mean:.2f}"]
            and line.split()[-2:] == ["0", "1"]
            for line in out.splitlines()
        )


def test_a_job_does_not_take_another_run_for_its_own(metarun: Metarun) -> None:
    """Two jobs that were sent to one folder: the second is refused, and stays so."""
    sweep = ["seed=0,1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=x"]
    assert metarun("-m", *TINY, *sweep)[0] == 1
    before = Path("sweep/x/result.json").read_bytes()
    _, out, err = metarun("resume=sweep", *TINY[:2])
    assert out.count("finished before") == 1
    assert any("seed=0: the run was trained with 1" in e or "seed=1" in e for e in err)
    assert Path("sweep/x/result.json").read_bytes() == before


def test_a_result_that_lies_in_a_jobs_folder_is_not_written_over(metarun: Metarun) -> None:
    Path("sweep/0").mkdir(parents=True)
    Path("sweep/0/result.json").write_text('{"mine": 1}')
    metarun("-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep")
    assert Path("sweep/0/result.json").read_text() == '{"mine": 1}'
    assert json.loads(Path("sweep/1/result.json").read_text())["status"] == "completed"


def test_a_jobs_threads_do_not_depend_on_the_job_before(metarun: Metarun) -> None:
    words = [word for word in TINY if not word.startswith("threads")]
    metarun("-m", *words, "threads=2,null", "hydra.sweep.dir=sweep")
    results = [json.loads(Path(f"sweep/{i}/result.json").read_text()) for i in (0, 1)]
    assert [result["run"]["threads"] for result in results] == [2, 1]


def test_a_key_of_a_swept_choice_is_looked_for_in_each_job(metarun: Metarun) -> None:
    words = ["algo=maml,fomaml", "algo.inner_lr=0.05", "hydra.sweep.dir=sweep"]
    assert metarun("-m", *TINY, *words)[0] == 0
    found = [OmegaConf.load(f"sweep/{i}/config.yaml").algo for i in (0, 1)]
    assert [(a.inner_lr, a.first_order) for a in found] == [(0.05, False), (0.05, True)]


@pytest.mark.parametrize("key", ["hydra.searchpath", "+hydra.searchpath"])
def test_a_strangers_sweep_names_no_folder_with_code(metarun: Metarun, key: str) -> None:
    Path("sweep").mkdir()
    content = f"hydra: {{overrides: {{task: [], hydra: ['{key}=[file://evil]']}}}}"
    Path("sweep/multirun.yaml").write_text(content)
    code, _, err = metarun("resume=sweep")
    assert (code, len(err)) == (2, 1)
    assert "code in that folder could run" in err[0]


def test_a_jobs_command_makes_the_same_run_alone(metarun: Metarun) -> None:
    assert metarun("-m", *TINY, "seed=0,1", "tags=[a b]", "hydra.sweep.dir=sweep")[0] == 0
    words = shlex.split(json.loads(Path("sweep/1/result.json").read_text())["run"]["command"])
    assert metarun(*words[1:], "out=again")[0] == 0  # finds the tests' own data as well
    made = [Path(f"{run}/test_episodes.csv").read_bytes() for run in ("sweep/1", "again")]
    assert made[0] == made[1]
