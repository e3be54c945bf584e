"""A search: its trials, early ends, errors, and resuming after an interruption or a kill."""

from __future__ import annotations

import errno
import json
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from filelock import FileLock

from metarun.loggers import Guarded
from metarun.runs.lock import alone_in
from metarun.sweeps import sweep
from metarun.sweeps.search.study import Study
from metarun.sweeps.search.trial import Reports
from metarun.training.processes import WorkerEnded
from tests.conftest import TINY, before_each_step, blank, signal_in_step

Metarun = Callable[..., tuple[int, str, list[str]]]
SEARCH = ["-m", *TINY, "hydra/sweeper=optuna", "queries=1", "val_episodes=2", "test_episodes=2"]
RATE = "optimizer.lr=tag(log,interval(1e-4,0.1))"


def result(job: str) -> dict[str, Any]:
    return json.loads(Path(job, "result.json").read_text())


def journal(sweep: str) -> list[dict[str, Any]]:
    return list(map(json.loads, Path(sweep, "search/trials.jsonl").read_text().splitlines()))


def reported(sweep: str) -> list[tuple[int, int, float]]:
    """Return the trial, step and value of each validation in the journal, with repetitions."""
    lines = [line for line in journal(sweep) if "intermediate_value" in line]
    return [(line["trial_id"], line["step"], line["intermediate_value"]) for line in lines]


def states(sweep: str) -> list[int]:
    """Return the final states in the journal: 1 complete, 2 pruned, 3 failed (`TrialState`)."""
    return [line["state"] for line in journal(sweep) if line.get("state", 0) in (1, 2, 3)]


def validations(job: str) -> list[tuple[int, float]]:
    lines = map(json.loads, Path(job, "metrics.jsonl").read_text().splitlines())
    return [(x["step"], x["accuracy"]) for x in lines if x["split"] == "val"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a search with three trials that was not interrupted."""
    from metarun import cli

    folder = tmp_path_factory.mktemp("search") / "whole"
    words = [RATE, "algo.distance=cosine,euclidean", f"hydra.sweep.dir={folder}"]
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        assert cli.main([*SEARCH, "hydra.sweeper.trials=3", *words]) == 0
    return folder


def test_a_search_reports_its_validations_to_optuna(whole: Path) -> None:
    assert states(str(whole)) == [1, 1, 1]
    assert reported(str(whole)) == [(i, *v) for i in range(3) for v in validations(f"{whole}/{i}")]
    final_values = [line["values"] for line in journal(str(whole)) if line.get("state") == 1]
    for number, values in enumerate(final_values):
        assert values == [max(a for _, a in validations(f"{whole}/{number}"))]
        content = result(f"{whole}/{number}")
        assert values == [content["val"]["accuracy"]["mean"]]
        assert content["run"]["trial"] == number


def test_the_command_of_a_trial_repeats_its_run(metarun: Metarun, whole: Path) -> None:
    trial = result(f"{whole}/1")
    words = shlex.split(trial["run"]["command"])
    assert words[0] == "metarun" and not any("interval" in w or "trial" in w for w in words)
    assert metarun(*words[1:], *TINY[:2], "out=again")[0] == 0
    assert result("again")["test"] == trial["test"]


def test_a_search_is_reproducible_and_more_trials_can_be_added(
    metarun: Metarun, whole: Path
) -> None:
    words = ["hydra.sweeper.trials=1", RATE, "algo.distance=cosine,euclidean"]
    assert metarun(*SEARCH, *words, "hydra.sweep.dir=sweep")[0] == 0
    first = Path("sweep/0/result.json").read_bytes()
    code, out, err = metarun("resume=sweep", *TINY[:2], "hydra.sweeper.trials=2")
    assert (code, err, out.count("finished before")) == (0, [], 1)
    assert Path("sweep/0/result.json").read_bytes() == first
    for number in (0, 1):
        same = [result(f"{sweep}/{number}")["run"]["command"] for sweep in (whole, "sweep")]
        assert same[0] == same[1]
    scores = [result(f"sweep/{n}")["val"]["accuracy"]["mean"] for n in (0, 1)]
    best = int(np.argmax(scores))
    assert f"Trial {best}, the best of 2 that finished: validation {100 * scores[best]:.2f}" in out

    code, out, err = metarun("resume=sweep", *TINY[:2], "hydra.sweeper.trials=1")
    assert (code, out) == (2, "")  # no table
    assert err == ["metarun: hydra.sweeper.trials=1: sweep already has 2 trials"]
    code, _, err = metarun("resume=sweep", *TINY[:2], "hydra.sweeper.seed=2")
    assert (code, len(err)) == (2, 1)
    assert "resume keeps the settings of a search" in err[0]
    code, _, err = metarun("resume=sweep", *TINY[:2], "shots=2")
    assert (code, len(err)) == (2, 1)
    assert "only hydra.sweeper.trials=N, hydra/launcher=NAME and " in err[0]


def planned(monkeypatch: pytest.MonkeyPatch, scores: list[float]) -> None:
    """Let trial i report scores[i] at each validation."""
    original = Reports.validated

    def validated(self: Any, step: int, val: Any) -> None:
        original(self, step, {"accuracy": {"mean": scores[self.number]}})

    monkeypatch.setattr(Reports, "validated", validated)


def test_a_search_over_a_key_without_a_value(
    metarun: Metarun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweep, "_run", lambda *_, **__: 0)  # the trials
    (tmp_path / "own/algo").mkdir(parents=True)
    text = "_target_: metarun.algorithms.protonet.ProtoNet\ntemperature: ???\n"
    (tmp_path / "own/algo/mine.yaml").write_text(text)
    words = ["-m", "--config-dir", "own", "algo=mine", "hydra/sweeper=optuna"]
    code, _, err = metarun(*words)
    assert code == 2
    assert err[0].startswith("metarun: algo.temperature: has no value yet")
    code, _, err = metarun(*words, "algo.temperature=interval(1.0,2.0)")
    assert (code, err) == (0, [])


def test_a_bad_trial_ends_early_and_does_not_fail(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch, [0.5, 0.1, 0.6])
    failed: list[bool] = []  # the argument of the logger
    monkeypatch.setattr(Guarded, "finish", lambda *args, **_: failed.append(args[-1]))
    words = ["hydra.sweeper.trials=3", "hydra.sweeper.warmup_trials=1", "eval_every=1", RATE]
    code, out, err = metarun(*SEARCH, *words, "hydra.sweep.dir=sweep")
    assert (code, err) == (0, [])
    assert states("sweep") == [1, 2, 1]
    assert failed == [False, False, False]
    ended = result("sweep/1")
    assert ended["status"] == "interrupted"
    assert ended["pruned"] == {"step": 1, "trial": 1}
    assert "test" not in ended
    assert [step for step, _ in validations("sweep/1")] == [1]
    assert [step for step, _ in validations("sweep/2")] == [1, 2, 3, 4]
    assert "ended early: behind half of the earlier trials at step 1\n" in out
    assert "pruned" in out
    assert "Trial 1," not in out

    code, out, _ = metarun("resume=sweep", *TINY[:2])
    assert code == 0
    assert "job 1 (2 of 3): ended early before: optimizer.lr=" in out
    assert Path("sweep/1/result.json").read_text().count('"status": "interrupted"') == 1

    assert metarun("resume=sweep/1", *TINY[:2])[0] == 0  # resumed as a single run
    assert result("sweep/1")["status"] == "completed"
    assert "pruned" not in result("sweep/1")


def test_the_last_validation_does_not_end_a_trial(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned(monkeypatch, [0.5, 0.1])
    words = ["hydra.sweeper.trials=2", "hydra.sweeper.warmup_trials=1", "eval_every=4", RATE]
    assert metarun(*SEARCH, *words, "hydra.sweep.dir=sweep")[0] == 0
    assert states("sweep") == [1, 1]


def test_a_failed_trial_is_reported_and_is_not_the_best(metarun: Metarun) -> None:
    words = ["hydra.sweeper.trials=3", "hydra.sweeper.sampler=random", "backbone.filters=-1,8"]
    words += ["hydra.sweeper.seed=1", "hydra.sweep.dir=sweep"]
    code, out, err = metarun(*SEARCH, *words)
    assert code == 1
    failed = [i for i in range(3) if result(f"sweep/{i}")["status"] == "failed"]
    assert failed and len(failed) < 3  # both choices were tried
    assert states("sweep") == [3 if i in failed else 1 for i in range(3)]
    assert [line.partition(": backbone")[0] for line in err] == [
        f"metarun: job {i}" for i in failed
    ]
    assert "backbone.filters=8; again:" in out


@pytest.mark.parametrize("method", ["report", "tell"])
def test_a_trial_can_be_resumed_after_a_full_disk(
    metarun: Metarun, whole: Path, method: str
) -> None:
    original = getattr(Study, method)

    def full(self: Any, number: int, *args: Any) -> Any:
        if number == 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return original(self, number, *args)

    words = ["hydra.sweeper.trials=2", RATE, "algo.distance=cosine,euclidean"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Study, method, full)
        code, _, err = metarun(*SEARCH, *words, "hydra.sweep.dir=sweep")
    assert (code, len(err)) == (1, 1)
    assert err[0].startswith("metarun: job 1: ")
    assert "No space left on device" in err[0]
    assert "metarun resume=" in err[0]
    assert states("sweep") == [1]
    assert metarun("resume=sweep", *TINY[:2])[0] == 0
    assert states("sweep") == [1, 1]
    assert result("sweep/1")["run"]["command"] == result(f"{whole}/1")["run"]["command"]
    assert result("sweep/1")["test"] == result(f"{whole}/1")["test"]


def test_a_trial_can_be_resumed_after_a_worker_was_killed(metarun: Metarun) -> None:
    def end(step: int) -> None:
        if step == 2:
            raise WorkerEnded("a worker has ended")

    with pytest.MonkeyPatch.context() as patch:
        before_each_step(patch, end)
        code, _, err = metarun(*SEARCH, "hydra.sweeper.trials=1", RATE, "hydra.sweep.dir=sweep")
    assert (code, len(err)) == (1, 1)
    assert "a worker has ended; step 1 is saved" in err[0]
    assert states("sweep") == []
    assert metarun("resume=sweep", *TINY[:2])[0] == 0
    assert states("sweep") == [1]


def test_an_interrupted_search_can_be_resumed(metarun: Metarun, whole: Path) -> None:
    words = ["hydra.sweeper.trials=2", RATE, "algo.distance=cosine,euclidean"]
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(patch, 4 + 3)  # in the second trial, after its first validation
        code, _, err = metarun(*SEARCH, *words, "hydra.sweep.dir=sweep")
    assert code == 130
    assert err == ["metarun: interrupted; the sweep can go on: metarun resume=sweep"]
    assert result("sweep/1")["status"] == "interrupted"
    first = Path("sweep/0/result.json").read_bytes()

    assert metarun("resume=sweep", *TINY[:2])[0] == 0
    assert Path("sweep/0/result.json").read_bytes() == first
    assert_same_search(whole)


def assert_same_search(whole: Path) -> None:
    """Check that `sweep` equals the first trials of the search that was not interrupted."""
    assert sorted(reported("sweep")) == [x for x in reported(str(whole)) if x[0] < 2]
    for number in range(2):
        for key in ("test", "val"):
            assert result(f"sweep/{number}")[key] == result(f"{whole}/{number}")[key]
        commands = [result(f"{s}/{number}")["run"]["command"] for s in ("sweep", whole)]
        assert commands[0] == commands[1]


def test_a_killed_search_can_be_resumed(metarun: Metarun, whole: Path) -> None:
    """It is killed after a checkpoint and before its report, and leaves an incomplete line."""
    code = (
        "import os, signal, sys\nfrom metarun import cli\n"
        "from metarun.sweeps.search.study import Study\n"
        "original = Study.report\n"
        "def report(self, number, step, value):\n"
        "    if (number, step) == (1, 2): os.kill(os.getpid(), signal.SIGKILL)\n"
        "    original(self, number, step, value)\n"
        "Study.report = report\ncli.main(sys.argv[1:])\n"
    )
    words = ["hydra.sweeper.trials=2", RATE, "algo.distance=cosine,euclidean"]
    argv = [sys.executable, "-c", code, *SEARCH, *words, "hydra.sweep.dir=sweep"]
    killed = subprocess.run(argv, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert reported("sweep") == [x for x in reported(str(whole)) if x[0] == 0]
    with open("sweep/search/trials.jsonl", "ab") as file:
        file.write(b'{"op_code":7,"worker')

    code, out, err = metarun("resume=sweep", *TINY[:2])
    assert (code, err) == (0, [])
    assert out.count("finished before") == 1
    assert_same_search(whole)


def test_a_trial_that_another_process_runs_is_skipped(metarun: Metarun, whole: Path) -> None:
    Path("sweep/search").mkdir(parents=True)
    words = ["hydra.sweeper.trials=2", RATE, "algo.distance=cosine,euclidean"]
    with FileLock("sweep/search/.1"):
        code, out, _ = metarun(*SEARCH, *words, "hydra.sweep.dir=sweep")
    assert code == 0
    assert "job 1 (2 of 2): another process is running this trial" in out
    assert not Path("sweep/1/result.json").exists()
    code, out, _ = metarun("resume=sweep", *TINY[:2])
    assert (code, out.count("finished before")) == (0, 1)
    assert result("sweep/1")["status"] == "completed"


def test_a_trial_whose_run_another_process_resumes_has_not_failed(metarun: Metarun) -> None:
    Path("sweep/1").mkdir(parents=True)
    words = ["hydra.sweeper.trials=2", RATE, "hydra.sweep.dir=sweep"]
    with alone_in(Path("sweep/1")):
        code, out, err = metarun(*SEARCH, *words)
    assert (code, err) == (0, [])
    assert "skipped: " in out
    assert states("sweep") == [1]
    assert metarun("resume=sweep", *TINY[:2])[0] == 0
    assert states("sweep") == [1, 1]


def test_resume_reports_a_result_that_is_not_in_the_journal(metarun: Metarun, whole: Path) -> None:
    """As after a kill between writing the result of a trial and reporting it."""
    shutil.copytree(whole, "sweep")
    file = Path("sweep/search/trials.jsonl")
    lines = file.read_text().splitlines(keepends=True)
    assert '"state":1' in lines[-1]
    file.write_text("".join(lines[:-1]))
    shutil.rmtree("sweep/experiment")
    before = Path("sweep/2/result.json").read_bytes()
    assert metarun("resume=sweep", *TINY[:2])[0] == 0
    assert states("sweep") == [1, 1, 1]
    assert Path("sweep/2/result.json").read_bytes() == before
    assert Path("sweep/experiment/best.yaml").exists()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["seed=0,1"], "seed: the best of several seeds is the luckiest;"),
        (["shots=1"], "hydra/sweeper=optuna: nothing is searched over;"),
        ([RATE, "hydra.sweeper.trials=0"], "hydra.sweeper.trials=0: should be greater"),
        ([RATE, "hydra.sweeper.trails=3"], "hydra.sweeper.trails: no such key; did you mean hydra"),
        ([RATE, "hydra.sweeper={trials: 3}"], "hydra.sweeper: no such key"),
        ([RATE, "hydra.sweeper._target_=os.system"], "hydra.sweeper._target_: no such key"),
        ([RATE, "hydra.sweeper.pruner=x"], "hydra.sweeper.pruner=x: should be 'median', "),
        ([RATE, "shotz=1"], "shotz: no such key; did you mean shots?"),
        ([RATE, "shots=-1"], "shots=-1: should be greater than or equal to 1"),
        ([RATE, "algo=maml,mamml"], "algo=mamml: no such choice; did you mean maml?"),
        (
            ["algo=maml,protonet", "algo.inner_lr=0.1,0.2"],
            "algo.inner_lr: no such key; did you mean algo.distance? (with algo=protonet)",
        ),
        ([RATE, "hydra.sweep.subdir=x"], "hydra.sweep.subdir: a search numbers the folders"),
        ([RATE, "optimizer.lr=0.5"], "optimizer.lr: has a range and is set again; set it once"),
        ([RATE, "+optimizer.lr=1,2"], "optimizer.lr: has a range and is set again; set it once"),
        ([RATE, "~optimizer.lr"], "optimizer.lr: has a range and is set again; set it once"),
        (["optimizer.lr=interval(2,1)"], "optimizer.lr=interval(2,1): should run from"),
    ],
)
def test_a_mistake_is_reported_in_one_line_and_makes_no_folder(
    metarun: Metarun, words: list[str], line: str
) -> None:
    code, _, err = metarun(*SEARCH, *words, "hydra.sweep.dir=sweep")
    assert code == 2
    assert len(err) == 1
    assert err[0].startswith(f"metarun: {line}")
    assert not Path("sweep").exists()


@pytest.mark.parametrize("word", [RATE, "hydra.sweeper.trials=3"])
def test_search_overrides_without_a_search_are_refused(metarun: Metarun, word: str) -> None:
    code, _, err = metarun("-m", *TINY, "shots=1,2", word, "hydra.sweep.dir=sweep")
    assert code == 2
    assert err == [f"metarun: {word}: is for a search: add hydra/sweeper=optuna"]
    assert not Path("sweep").exists()


@pytest.mark.parametrize("search", ["hydra/sweeper=optuna", "hydra/sweeper='optuna'"])
def test_missing_optuna_is_reported(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch, search: str
) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    code, _, err = metarun("-m", *TINY, search, RATE, "hydra.sweep.dir=sweep")
    assert code == 2
    assert err == ["metarun: hydra/sweeper=optuna: needs Optuna: pip install 'metarun[search]'"]
    assert not Path("sweep").exists()


def test_a_sweep_does_not_import_optuna() -> None:
    code = (
        "import sys, metarun.sweeps.sweep; "
        "sys.exit('optuna' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    "word", ["hydra.sweeper._target_=os.system", "hydra.sweeper.storage=x", "hydra/sweeper=evil"]
)
def test_unsafe_overrides_in_a_sweep_file_are_refused(
    metarun: Metarun, whole: Path, word: str
) -> None:
    file = Path("sweep/multirun.yaml")
    file.parent.mkdir()
    saved = yaml.safe_load((whole / "multirun.yaml").read_text())
    saved["hydra"]["overrides"]["hydra"].append(word)
    file.write_text(yaml.safe_dump(saved))
    code, _, err = metarun("resume=sweep", *TINY[:2])
    assert (code, len(err)) == (2, 1)


def test_a_damaged_journal_is_reported_and_the_runs_are_kept(metarun: Metarun, whole: Path) -> None:
    shutil.copytree(whole, "sweep")
    with open("sweep/search/trials.jsonl", "a") as file:
        file.write("oops\n")
    code, _, err = metarun("resume=sweep", *TINY[:2], "hydra.sweeper.trials=5")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: sweep/search/trials.jsonl: line ")
    assert result("sweep/2")["status"] == "completed"
    assert not Path("sweep/3").exists()


def test_a_search_for_regression_minimises_the_error(metarun: Metarun) -> None:
    words = ["debug=tiny", "data=sinusoid", "algo=maml", "threads=1", "hydra/sweeper=optuna"]
    words += ["hydra.sweeper.trials=2", "algo.inner_lr=interval(0.001,0.02)"]
    code, out, _ = metarun("-m", *words, "hydra.sweep.dir=sweep")
    assert code == 0
    errors = [result(f"sweep/{i}")["val"]["mse"]["mean"] for i in (0, 1)]
    assert f"Trial {int(np.argmin(errors))}, the best of 2" in out
    assert [line["values"] for line in journal("sweep") if line.get("state") == 1] == [
        [-error] for error in errors
    ]
