"""A sweep validates each job separately, prints one table, and can be resumed."""

from __future__ import annotations

import errno
import json
import shlex
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from metarun.config.groups import hydra_for
from metarun.config.overrides import parse
from metarun.sweeps import job as job_module
from metarun.sweeps import sweep
from tests.conftest import TINY, before_each_step, signal_in_step
from tests.faults.test_disk import failing_from

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
    assert err == [
        "metarun: job 1: shots=-1: should be greater than or equal to 1",
        "metarun: job 2: algo=mamml: no such choice; did you mean maml? (metarun list algo: all)",
        "metarun: job 3: algo=mamml: no such choice; did you mean maml? (metarun list algo: all)",
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


def values(word: str) -> str:
    loader = hydra_for(None).config_loader
    (override,), mistakes = parse(loader, [word], sweep=True)
    assert not mistakes
    return sweep.with_fixed_values(override, loader)


@pytest.mark.parametrize(
    ("word", "fixed"),
    [
        ("algo=glob(*maml)", "algo=choice(fomaml,maml)"),
        ("algo=glob([*maml,anil],exclude=fo*)", "algo=choice(anil,maml)"),
        ("algo=glob(maml)", "algo=choice(maml)"),
        ("+experiment=glob(maml/omni*)", "+experiment=choice(maml/omniglot)"),
        ("seed=range(0,3)", "seed=range(0,3)"),
        ("seed=sort(2,0,1)", "seed=sort(2,0,1)"),
        ("seed=tag(a,choice(0,1))", "seed=tag(a,choice(0,1))"),
        ("algo.inner_lr=interval(0,1)", "algo.inner_lr=interval(0,1)"),
        ("tags=[a]", "tags=[a]"),
    ],
)
def test_choices_that_match_a_pattern_are_listed(word: str, fixed: str) -> None:
    assert values(word) == fixed


@pytest.mark.parametrize("word", ["seed=shuffle(0,1,2,3)", "seed=shuffle(range(0,4))"])
def test_a_random_order_is_drawn_once_so_that_a_resumed_sweep_has_the_same_jobs(word: str) -> None:
    orders = {values(word) for _ in range(20)}
    assert len(orders) > 1
    for order in orders:
        assert sorted(order.removeprefix("seed=choice(").removesuffix(")").split(",")) == [*"0123"]


def test_a_sweep_over_the_choices_that_match_a_pattern(metarun: Metarun) -> None:
    metarun("-m", *TINY, "algo=glob(*maml)", "shots=90", "hydra.sweep.dir=sweep")
    commands = [json.loads(Path(f"sweep/{i}/result.json").read_text())["run"] for i in (0, 1)]
    assert [c["command"].split()[-2] for c in commands] == ["algo=fomaml", "algo=maml"]
    saved = OmegaConf.load("sweep/multirun.yaml").hydra.overrides.task
    assert "algo=choice(fomaml,maml)" in saved


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["algo=glob(x*)"], "algo=glob(x*): matches no choice (anil, "),
        (["shots=glob(*)"], "shots=glob(*): matches no choice (none)"),
        (["seed=shuffle(range(0,1e9))"], "seed=shuffle(range(0,1e9)): the sweep has 1000000000"),
        (["algo=shuffle(glob(*))"], "algo=shuffle(glob(*)): not an override: "),
        (["seed=extend_list(1,2)"], "seed=extend_list(1,2): not an override: "),
        (["seed=0,1", "seed=2,3"], "seed: has a range and is set again; set it once"),
        (["seed=range(0,2)", "seed=5"], "seed: has a range and is set again; set it once"),
        (["algo=maml,anil", "algo=glob(*)"], "algo: has a range and is set again; set it once"),
        (["algo=true"], "algo=true: no such choice (metarun list algo: all)"),
        (["algo=mamml", "seed=0,1"], "algo=mamml: no such choice; did you mean maml?"),
        (["data=1"], "data=1: no such choice (metarun list data: all)"),
        (["algo=[maml,anil]"], "algo=['maml', 'anil']: no such choice (metarun list algo: all)"),
        (["hydra/sweeper=true"], "hydra/sweeper=true: no such choice (basic, metarun, optuna)"),
        (["hydra/launcher=null"], "hydra/launcher=null: no such choice (basic, "),
        (["hydra/launcher=basic,joblib"], "hydra/launcher=basic,joblib: a sweep has one launcher"),
        (["hydra/job_logging=true"], "Config group override must be a string"),
        (["hydra=null"], "Config group override must be a string"),
        (["hydra.launcher=null"], "hydra.launcher=null: no such key; choose with hydra/launcher="),
        (["hydra.sweeper._target_=os.system"], "hydra.sweeper._target_: no such key"),
        (["++hydra.sweeper._target_=os.system"], "hydra.sweeper._target_: no such key"),
        (["~hydra.sweeper"], "hydra.sweeper: no such key"),
        (["hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size=0: should be a whole"),
        (["hydra.sweeper.max_batch_size=x"], "hydra.sweeper.max_batch_size=x: should be a whole"),
        (["hydra.sweeper.params=3"], "hydra.sweeper.params=3: should be values by key"),
        (["hydra.sweep.dir=file/sweep"], "hydra.sweep.dir=file/sweep: cannot be written to (Not a"),
        (
            ["hydra/sweeper=optuna", "optimizer.lr=0.1,1", "hydra.sweep.dir=file/sweep"],
            "hydra.sweep.dir=file/sweep: cannot be written to (Not a directory)",
        ),
    ],
)
def test_a_mistake_that_all_jobs_share_is_refused_before_anything_is_written(
    metarun: Metarun, words: list[str], line: str
) -> None:
    Path("file").touch()
    code, _, err = metarun("-m", *words)
    assert code == 2
    assert len(err) == 1
    assert err[0].startswith(f"metarun: {line}")
    assert list(Path().iterdir()) == [Path("file")]


def test_later_values_replace_a_single_one(metarun: Metarun) -> None:
    """As everywhere in Hydra; a script may end with the words of its user."""
    words = ["seed=7", "seed=0,1", "test_episodes=90", "shots=90", "hydra.sweep.dir=sweep"]
    metarun("-m", *TINY, *words)
    assert len(status("sweep")) == 2


def test_the_values_of_a_sweep_can_be_in_params(metarun: Metarun) -> None:
    words = ["hydra.sweeper.params={algo: 'glob(*maml)'}", "shots=90", "hydra.sweep.dir=sweep"]
    _, _, first = metarun("-m", *TINY, *words, "hydra.sweeper.max_batch_size=1")
    for number, algo in enumerate(("algo=fomaml", "algo=maml")):
        assert algo in json.loads(Path(f"sweep/{number}/result.json").read_text())["run"]["command"]
    saved = OmegaConf.load("sweep/multirun.yaml").hydra.overrides.task
    assert saved[0] == "algo=choice(fomaml,maml)"
    code, _, again = metarun("resume=sweep", *TINY[:2])
    assert (code, again) == (1, first)


def test_a_job_that_another_process_did_is_kept_also_after_another_resume(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process that started the sweep reaches job 1 after two others have resumed it."""
    original = job_module.Job.__call__

    def resume_first(job: job_module.Job) -> int:
        if job.number == 1 and not job.sweep.go_on:
            assert metarun("resume=sweep", *TINY[:2])[0] == 0
            assert metarun("resume=sweep", *TINY[:2])[0] == 0
        return original(job)

    monkeypatch.setattr(job_module.Job, "__call__", resume_first)
    code, _, err = metarun("-m", *TINY, "shots=1,2", "hydra.sweep.dir=sweep")
    assert (code, err) == (0, [])


def test_a_full_disk_under_a_sweep_names_the_file(metarun: Metarun) -> None:
    words = ["-m", *TINY, "shots=90,91", "hydra.sweep.dir=sweep"]
    with pytest.MonkeyPatch.context() as patch:
        failing_from(patch, job_module, "make_folder", 1, errno.ENOSPC)
        code, _, err = metarun(*words)
    assert code == 1
    reason = "No space left on device; go on with: metarun resume=sweep"
    folder = Path.cwd() / "sweep"
    assert err == [f"metarun: job {n}: {folder / str(n)}: {reason}" for n in (0, 1)]
    metarun("resume=sweep", *TINY[:2])
    assert len(status("sweep")) == 2


@pytest.mark.parametrize("search", [[], ["hydra/sweeper=optuna"]])
def test_a_sweep_that_cannot_be_saved_can_be_started_again(
    metarun: Metarun, search: list[str]
) -> None:
    words = ["-m", *TINY, *search, "optimizer.lr=0.1,1", "hydra.sweep.dir=sweep"]
    with pytest.MonkeyPatch.context() as patch:
        failing_from(patch, tempfile, "mkstemp", 1, errno.ENOSPC)
        code, _, err = metarun(*words)
    assert code == 2
    assert err == ["metarun: hydra.sweep.dir=sweep: cannot be written to (No space left on device)"]
    assert not Path("sweep/multirun.yaml").exists()


def test_a_key_of_a_swept_group_can_be_null(metarun: Metarun) -> None:
    words = ["optimizer=adam,sgd", "optimizer.clip=null", "shots=90", "hydra.sweep.dir=sweep"]
    _, _, err = metarun("-m", *TINY, *words)
    assert [line.partition("=")[0] for line in err] == [f"metarun: job {i}: shots" for i in (0, 1)]
