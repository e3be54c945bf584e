"""A sweep validates each job separately, prints one table, and can be resumed."""

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


def test_an_invalid_job_fails_and_the_others_run(metarun: Metarun) -> None:
    code, out, err = metarun(
        "-m", *TINY, "algo=protonet,mamml", "shots=1,-1", "hydra.sweep.dir=sweep"
    )
    assert code == 1
    assert status("sweep") == {"0": "completed", "1": "failed", "2": "failed", "3": "failed"}
    learners = ", ".join(choices("algo", str(OWN)))
    assert err == [
        "metarun: job 1: shots=-1: should be greater than or equal to 1",
        f"metarun: job 2: algo=mamml: no such choice; did you mean maml? ({learners})",
        f"metarun: job 3: algo=mamml: no such choice; did you mean maml? ({learners})",
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
        ["0", "protonet", "1"],
        ["1", "protonet", "-1"],
        ["2", "mamml", "1"],
        ["3", "mamml", "-1"],
    ]


def test_a_job_with_an_error_does_not_end_the_sweep(metarun: Metarun) -> None:
    def fail(step: int) -> None:
        if step == 1:
            raise RuntimeError("no luck")

    with pytest.MonkeyPatch.context() as patch:
        before_each_step(patch, fail)
        code, _, err = metarun("-m", *TINY, "shots=1,2", "hydra.sweep.dir=sweep")
    assert code == 1
    assert err[0].startswith("metarun: job 0: RuntimeError: no luck")
    assert status("sweep") == {"0": "failed", "1": "completed"}


def test_an_interrupted_sweep_can_be_resumed(metarun: Metarun) -> None:
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


def test_resume_refuses_an_invalid_job_again(metarun: Metarun) -> None:
    first = metarun("-m", *TINY, "shots=1,90", "hydra.sweep.dir=sweep")
    again = metarun("resume=sweep", *TINY[:2])
    assert first[0] == again[0] == 1
    assert first[2] == again[2]
    assert len(again[2]) == 1
    assert status("sweep") == {"0": "completed", "1": "failed"}


def test_a_sweep_does_not_start_in_the_folder_of_another(metarun: Metarun) -> None:
    words = ["-m", *TINY, "shots=1,2", "hydra.sweep.dir=sweep"]
    assert metarun(*words)[0] == 0
    code, _, err = metarun(*words)
    assert code == 2
    assert err[0].startswith("metarun: hydra.sweep.dir=sweep: holds a sweep already;")


def test_jobs_do_not_change_the_working_directory(metarun: Metarun) -> None:
    here = Path.cwd()
    metarun("-m", *TINY, "shots=1,2", "hydra.sweep.dir=sweep")
    assert Path.cwd() == here
    assert not Path("sweep/0/sweep").exists()


def test_a_finished_run_in_the_folder_of_a_job_is_kept(metarun: Metarun) -> None:
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


def test_folders_can_be_named_after_the_job_number(metarun: Metarun) -> None:
    words = ["shots=1,2", "hydra.sweep.subdir=job${hydra.job.num}", "hydra.sweep.dir=sweep"]
    assert metarun("-m", *TINY, *words)[0] == 0
    assert status("sweep") == {"job0": "completed", "job1": "completed"}
    _, out, _ = metarun("resume=sweep", *TINY[:2])
    assert out.count("finished before") == 2


def test_the_folder_of_a_sweep_can_depend_on_shared_keys(metarun: Metarun) -> None:
    metarun("-m", *TINY, "shots=1,2", "steps=2", "hydra.sweep.dir=sweep${steps}")
    assert status("sweep2") == {"0": "completed", "1": "completed"}


@pytest.mark.parametrize(
    "content",
    ["", "hydra: 3", "a: [", "hydra: {overrides: {task: ['+hydra.callbacks.x=1'], hydra: []}}"],
)
def test_an_invalid_or_unsafe_sweep_file_is_refused(metarun: Metarun, content: str) -> None:
    Path("sweep").mkdir()
    Path("sweep/multirun.yaml").write_text(content)
    code, _, err = metarun("resume=sweep")
    assert code == 2
    assert err[0].startswith(f"metarun: {Path('sweep/multirun.yaml')}: ")
    assert len(err) == 1


def test_a_sweep_over_seeds_prints_their_mean(metarun: Metarun) -> None:
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


def test_a_job_does_not_resume_the_run_of_another_job(metarun: Metarun) -> None:
    """Of two jobs with the same folder, the second is refused, also after resume."""
    sweep = ["seed=0,1", "hydra.sweep.dir=sweep", "hydra.sweep.subdir=x"]
    assert metarun("-m", *TINY, *sweep)[0] == 1
    before = Path("sweep/x/result.json").read_bytes()
    _, out, err = metarun("resume=sweep", *TINY[:2])
    assert out.count("finished before") == 1
    assert any("seed=0: the run was trained with 1" in e or "seed=1" in e for e in err)
    assert Path("sweep/x/result.json").read_bytes() == before


def test_an_existing_result_file_in_the_folder_of_a_job_is_kept(metarun: Metarun) -> None:
    Path("sweep/0").mkdir(parents=True)
    Path("sweep/0/result.json").write_text('{"mine": 1}')
    metarun("-m", *TINY, "seed=0,1", "hydra.sweep.dir=sweep")
    assert Path("sweep/0/result.json").read_text() == '{"mine": 1}'
    assert json.loads(Path("sweep/1/result.json").read_text())["status"] == "completed"


def test_the_threads_of_a_job_do_not_depend_on_earlier_jobs(metarun: Metarun) -> None:
    words = [word for word in TINY if not word.startswith("threads")]
    metarun("-m", *words, "threads=2,null", "hydra.sweep.dir=sweep")
    results = [json.loads(Path(f"sweep/{i}/result.json").read_text()) for i in (0, 1)]
    assert [result["run"]["threads"] for result in results] == [2, 1]


def test_a_key_of_a_swept_group_is_set_in_each_job(metarun: Metarun) -> None:
    words = ["algo=maml,fomaml", "algo.inner_lr=0.05", "hydra.sweep.dir=sweep"]
    assert metarun("-m", *TINY, *words)[0] == 0
    learners = [OmegaConf.load(f"sweep/{i}/config.yaml").algo for i in (0, 1)]
    assert [(a.inner_lr, a.first_order) for a in learners] == [(0.05, False), (0.05, True)]


@pytest.mark.parametrize("key", ["hydra.searchpath", "+hydra.searchpath"])
def test_a_sweep_file_cannot_name_a_folder_with_code(metarun: Metarun, key: str) -> None:
    Path("sweep").mkdir()
    content = f"hydra: {{overrides: {{task: [], hydra: ['{key}=[file://evil]']}}}}"
    Path("sweep/multirun.yaml").write_text(content)
    code, _, err = metarun("resume=sweep")
    assert (code, len(err)) == (2, 1)
    assert "code in that folder could run" in err[0]


def test_the_command_of_a_job_repeats_its_run(metarun: Metarun) -> None:
    assert metarun("-m", *TINY, "seed=0,1", "tags=[a b]", "hydra.sweep.dir=sweep")[0] == 0
    words = shlex.split(json.loads(Path("sweep/1/result.json").read_text())["run"]["command"])
    assert (
        metarun(*words[1:], "out=again")[0] == 0
    )  # the command includes the config folder of the tests
    first, second = (Path(f"{run}/test_episodes.csv").read_bytes() for run in ("sweep/1", "again"))
    assert first == second
