"""The number of processes and threads of a sweep, and the checks of its launcher."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest
from hydra.core.config_store import ConfigStore
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from metarun.config.groups import hydra_for
from metarun.config.overrides import length, parse
from metarun.sweeps import launchers
from metarun.sweeps.job import Job
from metarun.sweeps.plan import master_config
from metarun.sweeps.shared import Sweep
from tests.conftest import TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
COUNTS = st.integers(1, 64)


@given(cores=COUNTS, jobs=COUNTS)
def test_threads_fill_the_cores_and_do_not_exceed_them(cores: int, jobs: int) -> None:
    processes, threads = launchers.share(cores, jobs, None, None)
    assert processes * threads <= cores
    assert processes <= jobs
    assert processes in (jobs, cores)
    assert (threads + 1) * processes > cores


@given(cores=COUNTS, jobs=COUNTS, number=COUNTS)
def test_numbers_that_the_user_sets_are_kept(cores: int, jobs: int, number: int) -> None:
    assert launchers.share(cores, jobs, None, number)[1] == number
    assert launchers.share(cores, jobs, number, None)[0] == number
    assert launchers.share(cores, jobs, number, 3) == (number, 3)


@given(cores=COUNTS, jobs=COUNTS, workers=COUNTS)
def test_workers_are_counted(cores: int, jobs: int, workers: int) -> None:
    processes, threads = launchers.share(cores, jobs, None, None, workers)
    assert processes * threads * workers <= max(cores, workers)


@pytest.mark.parametrize(
    ("cores", "jobs", "processes", "threads", "expected"),
    [
        (8, 4, None, None, (4, 2)),
        (8, 100, None, 2, (4, 2)),
        (2, 6, None, None, (2, 1)),
        (2, 6, None, 4, (1, 4)),
        (8, 6, 3, None, (3, 2)),
        (1, 6, 4, None, (4, 1)),
    ],
)
def test_examples_by_hand(
    cores: int, jobs: int, processes: int | None, threads: int | None, expected: tuple[int, int]
) -> None:
    assert launchers.share(cores, jobs, processes, threads) == expected


def added(*words: str, cores: int = 8) -> int | None:
    """Return the number of threads that a sweep gets on a machine with so many cores."""
    loader = hydra_for(None).config_loader
    overrides, _ = parse(loader, words, sweep=True)
    search = "hydra/sweeper=optuna" in words
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launchers, "cores", lambda: cores)
        return launchers.threads_of(master_config(loader, overrides, search), overrides, search)


def test_the_number_of_threads_is_an_override() -> None:
    assert added("hydra/launcher=joblib", "shots=1,5") == 4
    assert added("hydra/launcher=joblib", "shots=1,5", "seed=range(3)") == 1
    assert added("hydra/launcher=joblib", "hydra.launcher.n_jobs=4", "shots=1,5") == 2
    assert added("hydra/launcher=joblib", "workers=2", "shots=1,5") == 2
    assert added("hydra/launcher=joblib", "workers=auto", "shots=1,5") == 4
    assert added("hydra/launcher=submitit_local", "shots=1,5") == 1
    assert added("hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=3") == 3
    assert added("hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=null") == 1
    words = ("hydra/launcher=submitit_local", "hydra.launcher.cpus_per_task=4", "workers=2")
    assert added(*words) == 2


@pytest.mark.parametrize(("trials", "threads"), [(2, 4), (20, 1)])
def test_a_search_has_as_many_jobs_as_trials(trials: int, threads: int) -> None:
    words = ["hydra/launcher=joblib", "hydra/sweeper=optuna", f"hydra.sweeper.trials={trials}"]
    for values in ("range(1,1000000000000)", "interval(1,2)", "1,2,3"):
        assert added(*words, f"meta_batch={values}") == threads


@given(start=st.integers(-9, 9), stop=st.integers(-9, 9), step=st.sampled_from([-3, -1, 1, 2, 0.5]))
def test_the_length_of_a_range_is_that_of_hydra(start: int, stop: int, step: float) -> None:
    (override,), _ = parse(
        hydra_for(None).config_loader, [f"seed=range({start},{stop},{step})"], sweep=True
    )
    assert length(override) == len(list(override.sweep_string_iterator()))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["seed=range(1,1000000000000)"], "the sweep has 999999999999 jobs; the maximum is 100000"),
        (["shots=1,2", "seed=range(99999)"], "the sweep has 199998 jobs; the maximum is 100000"),
        (["seed=range(5,1)"], "has no value in it"),
        (["seed=range(5,inf)"], "should have a beginning, an end, and a step that is not 0"),
        (["seed=range(1,5,0)"], "should have a beginning, an end, and a step that is not 0"),
    ],
)
def test_a_sweep_without_jobs_or_with_too_many_is_refused(
    metarun: Metarun, words: list[str], message: str
) -> None:
    code, _, err = metarun("-m", *TINY, *words, "hydra.sweep.dir=sweep")
    assert (code, err) == (2, [f"metarun: {words[-1]}: {message}"])
    assert not Path("sweep").exists()


@pytest.mark.parametrize(
    "word",
    [
        "hydra/sweeper=optuna",
        "hydra.sweeper.trials=3",
        "hydra/launcher=jobli",
        "+hydra.launcher.n_jobs=2",
        "hydra.sweep.dir=sweep",
    ],
)
def test_a_single_run_refuses_keys_of_sweeps(metarun: Metarun, word: str) -> None:
    code, _, err = metarun(*TINY, "hydra/launcher=joblib", word, "out=run")
    assert code == 2
    assert err[-1] == f"metarun: {word}: is for a sweep: add -m"
    assert not Path("run").exists()


def test_no_process_is_started_without_a_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = []
    monkeypatch.setattr(launchers, "run_in_parallel", lambda jobs, n, threads: processes.append(n))
    sweep = Sweep(Path(), go_on=False)
    jobs = [Job(n, 2, Path(str(n)), (f"seed={n}",), sweep) for n in (0, 1)]
    launchers.run_jobs(jobs, "joblib", {"n_jobs": 100})
    assert processes == [2]
    assert capsys.readouterr().out.startswith("2 jobs, 2 jobs at a time, ")


def test_a_choice_of_another_plug_in_is_refused(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    hydra_for(None)  # which loads the plug-ins
    for group in ("launcher", "sweeper"):
        choices = ConfigStore.instance().repo["hydra"][group]
        monkeypatch.setitem(choices, "ray.yaml", choices["basic.yaml"])
        code, _, err = metarun("-m", *TINY, f"hydra/{group}=ray", "seed=0,1")
        assert (code, len(err)) == (2, 1)
        assert err[0].startswith(f"metarun: hydra/{group}=ray: is not for metarun (basic, ")


@pytest.mark.parametrize("word", ["threads=2", "threads=1,2", "hydra/launcher=basic"])
def test_threads_are_not_added_if_set_or_without_processes(word: str) -> None:
    assert added(*["hydra/launcher=joblib"][: int("=" in word)], "shots=1,5", word) is None


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("hydra/launcher=jobli", "no such choice; did you mean joblib? (basic, joblib, slurm, "),
        ("hydra/launcher=joblib,basic", "a sweep has one launcher"),
        ("hydra.launcher.n_jobs=1,2", "a sweep has one launcher"),
        ("hydra/launcher=slurm", "there is no sbatch on this machine"),
        ("hydra.launcher.n_jobs=0", "should be a whole number, 1 or more"),
        ("hydra.launcher.n_jobs=-1", "should be a whole number, 1 or more"),
        ("hydra.launcher.n_jobs=many", "should be a whole number, 1 or more"),
        (
            "hydra/launcher=basic hydra.launcher.n_jobs=2",
            "needs a launcher: add hydra/",
        ),
        ("hydra.launcher.n_job=2", "no such key; did you mean hydra.launcher.n_jobs?"),
    ],
)
def test_a_mistake_is_reported_in_one_line_and_writes_nothing(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, word: str, message: str
) -> None:
    monkeypatch.setenv("PATH", "")
    words = [*["hydra/launcher=joblib"][int("/" in word) :], *word.split()]
    code, _, err = metarun("-m", *TINY, *words, "shots=1,2", "hydra.sweep.dir=sweep")
    assert (code, len(err)) == (2, 1), err
    assert err[0].startswith(f"metarun: {words[-1]}: {message}")
    assert not Path("sweep").exists()


@pytest.mark.parametrize("name", ["slurm", "submitit_local"])
def test_a_missing_extra_is_reported_in_one_line(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *a: None if n == "submitit" else find(n, *a)
    )
    code, _, err = metarun("-m", *TINY, f"hydra/launcher={name}", "shots=1,2")
    assert code == 2
    assert err == [f"metarun: hydra/launcher={name}: needs pip install 'metarun[cluster]'"]


def test_a_launcher_can_be_printed(metarun: Metarun) -> None:
    code, out, _ = metarun(*TINY, "hydra/launcher=slurm", "--cfg", "hydra", "-p", "hydra.launcher")
    assert code == 0
    assert OmegaConf.create(out).cpus_per_task == 4
