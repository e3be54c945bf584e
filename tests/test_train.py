"""A run: its files, interruption, resumption and errors."""

from __future__ import annotations

import csv
import json
import os
import signal
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarun.algorithms.protonet import ProtoNet
from metarun.runs import checkpoint
from metarun.runs.lock import alone_in
from metarun.runs.metrics import read_metrics
from metarun.training import loop
from tests.conftest import TINY, signal_in_step

Metarun = Callable[..., tuple[int, str, list[str]]]


def result(run: str | Path) -> dict[str, Any]:
    return json.loads((Path(run) / "result.json").read_text("utf-8"))


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        ignored = ("wall_seconds", "step_seconds", "episodes_per_second", "command", "resumed_with")
        return {k: without_times(v) for k, v in value.items() if k not in ignored}
    return value


def assert_same_run(a: str, b: str) -> None:
    """Same weights, same metrics, same figures, to the last bit."""
    assert read_metrics(Path(a)) == read_metrics(Path(b))
    assert without_times(result(a)) == without_times(result(b))
    assert Path(a, "test_episodes.csv").read_text() == Path(b, "test_episodes.csv").read_text()
    for name in ("last.pt", "best.pt"):
        one, two = (checkpoint.load_state(Path(r, "checkpoints", name)) for r in (a, b))
        assert one.keys() == two.keys()
        for key in one.keys() - {"wall_seconds", "step_seconds", "id", "command", "resumed_with"}:
            if key == "config":
                one[key]["out"] = two[key]["out"]
            if key in ("learner", "optimizer", "best_learner"):
                torch.testing.assert_close(one[key], two[key], rtol=0, atol=0)
            else:
                assert one[key] == two[key], key


@pytest.mark.ink
def test_a_run_folder_contains_all_files(metarun: Metarun) -> None:
    code, out, err = metarun("train", *TINY, "out=run")
    assert (code, err) == (0, [])
    for name in ("config.yaml", "metrics.jsonl", "result.json", "run.log", "test_episodes.csv"):
        assert Path("run", name).is_file()
    for name in ("curves.png", "episodes.png"):
        assert Path("run", name).read_bytes().startswith(b"\x89PNG")
    contents = result("run")
    assert contents["status"] == "completed"
    assert contents["test"]["episodes"] == 8
    assert 0 <= contents["test"]["accuracy"]["mean"] <= 1
    assert contents["val"]["best_step"] in (2, 4)
    protocol = contents["protocol"]
    expected = {"data": "blobs", "split": "test", "ways": 5, "shots": 1, "queries": 3}
    assert expected.items() <= protocol.items()
    assert protocol["batch_norm"] == "inductive"
    assert protocol["selection"] == "best validation accuracy"
    assert len(protocol["split_sha256"]) == len(protocol["episodes_sha256"]) == 64
    assert {"command", "algo", "backbone", "parameters", "seed", "steps"} <= contents["run"].keys()
    assert {"wall_seconds", "episodes_per_second", "device", "versions"} <= contents["run"].keys()
    assert out.rstrip().endswith("result.json")


def test_the_figure_is_the_mean_over_the_listed_episodes(run: Metarun) -> None:
    rows = list(csv.DictReader(Path("run/test_episodes.csv").read_text().splitlines()))
    assert [int(r["episode"]) for r in rows] == list(range(8))
    values = np.array([float(r["accuracy"]) for r in rows])
    assert result("run")["test"]["accuracy"]["mean"] == pytest.approx(values.mean())


def test_a_figure_has_an_interval_over_the_classes_of_its_episodes(metarun: Metarun) -> None:
    _, out, _ = metarun(*TINY, "out=run", "test_episodes=40")
    test = result("run")["test"]
    rows = list(csv.DictReader(Path("run/test_classes.csv").read_text().splitlines()))
    assert test["classes"] == len(rows)
    episodes = [int(i) for row in rows for i in row["episodes"].split()]
    assert sorted(episodes) == [i for i in range(40) for _ in range(5)]
    mean, ci95 = (100 * test["accuracy"][key] for key in ("mean", "ci95_classes"))
    figure = f"{mean:.2f} ± {ci95:.2f} %"
    assert f"test with the interval over its {len(rows)} classes: {figure}" in out


def test_metrics_have_a_line_for_each_logged_step_and_validation(metarun: Metarun) -> None:
    metarun(*TINY, "out=run", "log_every=2", "steps=5")
    lines = [(x["step"], x["split"]) for x in read_metrics(Path("run"))]
    train, val = "train", "val"
    assert lines == [(2, train), (2, val), (4, train), (4, val), (5, train), (5, val)]


def test_the_tested_checkpoint_is_chosen_on_validation(metarun: Metarun) -> None:
    """Never on test episodes."""
    metarun(*TINY, "out=run", "steps=6", "optimizer.lr=0.1")
    vals = [x for x in read_metrics(Path("run")) if x["split"] == "val"]
    best = max(vals, key=lambda x: (x["accuracy"], -x["step"]))
    assert result("run")["val"]["best_step"] == best["step"]
    assert checkpoint.load_state(Path("run/checkpoints/best.pt"))["step"] == best["step"]
    _, _, _ = metarun("evaluate", "run=run", *TINY[:2])
    (again,) = Path("run/evaluations").iterdir()
    assert result(again)["test"] == result("run")["test"]


def test_the_same_command_gives_the_same_run(metarun: Metarun) -> None:
    for out in ("a", "b"):
        metarun(*TINY, f"out={out}", "algo=maml")
    assert_same_run("a", "b")


def test_another_seed_gives_another_run_with_the_same_test_episodes(metarun: Metarun) -> None:
    metarun(*TINY, "out=a")
    metarun(*TINY, "out=b", "seed=1")
    a, b = result("a"), result("b")
    assert a["protocol"]["episodes_sha256"] == b["protocol"]["episodes_sha256"]
    assert a["test"]["loss"] != b["test"]["loss"]


def test_a_folder_with_a_run_is_never_written_to(run: Metarun) -> None:
    before = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
    code, _, err = run(*TINY, "out=run")
    assert code == 2
    assert err == [
        "metarun: out=run: holds a run already (config.yaml); choose another folder, "
        "or go on with that run: metarun resume=run"
    ]
    assert before == {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}


def test_a_refused_request_creates_no_folder(metarun: Metarun) -> None:
    for wrong in ("shots=30", "ways=13", "algo.temperature=-1", "algo.foo=1", "shots=0"):
        code, _, err = metarun(*TINY, "out=run", wrong)
        assert (code, len(err)) == (2, 1), err
        assert not Path("run").exists()


def test_all_mistakes_are_reported_at_once(metarun: Metarun) -> None:
    code, _, err = metarun(*TINY, "algo=maml", "ways=13", "train_ways=4", "train_queries=30")
    assert code == 2
    assert err == [
        "metarun: ways=13 train_ways=4: maml has a head for each label, so it is tested with as "
        "many ways as it is trained with",
        "metarun: train_shots=1 train_queries=30: a class of blobs has 20 items; shots + queries "
        "can be 20 at most",
        "metarun: ways=13: the val split of blobs has 12 classes",
    ]


@pytest.mark.parametrize("algo", ["protonet", "maml"])
@pytest.mark.parametrize(("call", "number"), [(1, signal.SIGINT), (3, signal.SIGTERM)])
def test_an_interrupted_run_resumes_exactly(
    metarun: Metarun, algo: str, call: int, number: int
) -> None:
    options = [*TINY, f"algo={algo}", "steps=5", "log_every=2", "optimizer.schedule=cosine"]
    metarun(*options, "out=whole")
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(patch, call, number)
        code, _, err = metarun(*options, "out=halves")
    assert code == 130
    assert err == [
        f"metarun: interrupted; step {call} of 5 is saved; "
        f"go on with: metarun resume=halves --config-dir {TINY[1]}"
    ]
    assert result("halves")["status"] == "interrupted"
    code, _, err = metarun("resume=halves", *TINY[:2])
    assert (code, err) == (0, [])
    assert_same_run("whole", "halves")


@pytest.mark.parametrize("evaluation", [1, 2, 3])
def test_an_interrupted_validation_or_test_is_repeated(metarun: Metarun, evaluation: int) -> None:
    """The learner adapts 9 times in each of two validations, then in the test."""
    options = [*TINY, "val_episodes=9"]
    metarun(*options, "out=whole")
    original, calls = ProtoNet.adapt, []

    def adapt(self: Any, support: Any) -> Any:
        calls.append(1)
        if len(calls) == 9 * evaluation - 4:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, support)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProtoNet, "adapt", adapt)
        code, _, _ = metarun(*options, "out=halves")
    assert code == 130
    assert metarun("resume=halves", *TINY[:2])[0] == 0
    assert_same_run("whole", "halves")


def test_a_finished_run_continues_with_more_steps(metarun: Metarun) -> None:
    metarun(*TINY, "out=long", "steps=8")
    metarun(*TINY, "out=short", "steps=4")
    code, _, err = metarun("resume=short", *TINY[:2])
    assert code == 2
    assert err == [
        "metarun: resume=short: finished after 4 steps; use a larger steps=N to continue"
    ]
    assert metarun("resume=short", "steps=8", *TINY[:2])[0] == 0
    assert_same_run("long", "short")


def test_resume_refuses_keys_that_would_change_the_run(run: Metarun) -> None:
    code, _, err = run("resume=run", "ways=3", "data=glyphs", "steps=9", *TINY[:2])
    assert code == 2
    assert [line.split(":")[1] for line in err] == [" data", " ways"]
    code, _, err = run("resume=run", "steps=3", *TINY[:2])
    assert (code, err) == (2, ["metarun: steps=3: run has already done 4 steps"])
    code, _, err = run("resume=nowhere")
    assert (code, err) == (2, ["metarun: resume=nowhere: no such folder"])


def test_a_loss_that_is_not_finite_stops_the_run_within_the_step(metarun: Metarun) -> None:
    original, calls = loop.accumulate, []

    def accumulate(learner: Any, tasks: Any, seed: int) -> Any:
        scores = original(learner, tasks, seed)
        calls.append(1)
        if len(calls) == 3:
            next(learner.parameters()).grad.fill_(torch.nan)
        return scores

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "accumulate", accumulate)
        code, _, err = metarun(*TINY, "out=run")
    assert code == 1
    assert len(err) == 1
    assert err[0].startswith("metarun: step 3: the norm of the meta-gradient is nan (loss ")
    assert "training episodes 4 to 5 of seed 0" in err[0]
    assert result("run")["status"] == "failed"
    assert "Traceback" in Path("run/run.log").read_text()
    assert checkpoint.load_state(Path("run/checkpoints/last.pt"))["step"] == 2
    assert metarun("resume=run", *TINY[:2])[0] == 0
    metarun(*TINY, "out=whole")
    assert_same_run("whole", "run")


def test_an_error_in_a_learner_is_one_line_and_a_traceback_in_the_log(metarun: Metarun) -> None:
    original = ProtoNet.outer_loss

    def broken(self: Any, task: Any) -> Any:  # the first task is tried before the run
        if task.number:
            raise RuntimeError("out of\nmemory")
        return original(self, task)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ProtoNet, "outer_loss", broken)
        code, _, err = metarun(*TINY, "out=run")
    assert code == 1
    assert err == [f"metarun: RuntimeError: out of memory (traceback in {Path('run/run.log')})"]
    assert result("run")["status"] == "failed"
    assert result("run")["error"] == "RuntimeError: out of\nmemory"


def test_a_folder_that_cannot_be_written_is_refused(metarun: Metarun) -> None:
    Path("file").write_text("mine")
    code, _, err = metarun(*TINY, "out=file/run")
    assert (code, err) == (2, ["metarun: out=file/run: cannot be written to (Not a directory)"])
    assert Path("file").read_text() == "mine"


def test_double_precision(metarun: Metarun) -> None:
    metarun(*TINY, "out=run", "precision=float64")
    weights = checkpoint.load_state(Path("run/checkpoints/best.pt"))["learner"]
    assert {w.dtype for k, w in weights.items() if "num_batches" not in k} == {torch.float64}


@pytest.mark.parametrize("algo", ["protonet", "maml"])
def test_training_beats_chance_on_an_easy_task(metarun: Metarun, algo: str) -> None:
    """Training improves the accuracy."""
    noisy = [*TINY, "data.noise=90", "test_episodes=40", "eval_every=30", f"algo={algo}"]
    metarun(*noisy, "out=untrained", "steps=1", "optimizer.lr=1e-9")
    metarun(*noisy, "out=trained", "steps=30", "optimizer.lr=3e-3", "log_every=10")
    before, after = (result(r)["test"]["accuracy"]["mean"] for r in ("untrained", "trained"))
    assert after > 0.7
    assert after > before + 0.2


def test_a_run_stopped_before_its_first_checkpoint_starts_again(metarun: Metarun) -> None:
    metarun(*TINY, "out=whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "save", lambda *_, **__: None)  # as after kill -9
        signal_in_step(patch, 1, signal.SIGINT)
        assert metarun(*TINY, "out=run")[0] == 130
    assert not list(Path("run/checkpoints").iterdir())
    assert metarun("resume=run", *TINY[:2])[0] == 0
    assert_same_run("whole", "run")


def test_an_edited_configuration_is_not_resumed(run: Metarun) -> None:
    file, before = Path("run/config.yaml"), Path("run/result.json").read_bytes()
    file.write_text(file.read_text().replace("filters: 8", "filters: 16"))
    code, _, err = run("resume=run", "steps=6", *TINY[:2])
    assert code == 2
    assert err == [f"metarun: {file}: backbone.filters=16: the run was trained with 8"]
    assert Path("run/result.json").read_bytes() == before


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_run_is_not_resumed_with_other_data(run: Metarun, split: str) -> None:
    state = checkpoint.load_state(Path("run/checkpoints/last.pt"))
    state["splits"][split] = "0" * 64  # as after adding images
    checkpoint.save(Path("run/checkpoints/last.pt"), state)
    code, _, err = run("resume=run", "steps=6", *TINY[:2])
    assert code == 2
    assert err == [f"metarun: resume=run: the data of {split} has changed; start a new run"]


def test_recent_scores_with_other_names_do_not_fail_in_the_run(run: Metarun) -> None:
    """Anybody can write them with a valid checksum."""
    folder = Path("run/checkpoints")
    state = checkpoint.load_state(folder / "last.pt")
    (folder / "previous.pt").unlink()
    checkpoint.save(folder / "last.pt", {**state, "recent": [{"speed": 1.0}]})
    code, _, (line,) = run("resume=run", "steps=6", *TINY[:2])
    assert code == 2
    assert "(recent.0.loss: Field required)" in line
    checkpoint.save(folder / "last.pt", {**state, "recent": [{"loss": 1.0, "speed": 1.0}]})
    code, _, err = run("resume=run", "steps=6", *TINY[:2])
    assert (code, err) == (0, [])


def test_two_processes_do_not_train_in_one_folder(run: Metarun) -> None:
    with alone_in(Path("run")):
        code, _, err = run("resume=run", "steps=6", *TINY[:2])
    who = f"process {os.getpid()} on {socket.gethostname()}"
    assert (code, err) == (2, [f"metarun: run: {who} is running in this folder"])
    assert run("resume=run", "steps=6", *TINY[:2])[0] == 0


@pytest.mark.parametrize("name", ["curves.png", "test_episodes.csv", "run.log"])
def test_files_of_the_user_are_not_overwritten(metarun: Metarun, name: str) -> None:
    Path("figures").mkdir()
    Path("figures", name).write_text("mine")
    code, _, err = metarun(*TINY, "out=figures")
    assert code == 2
    assert err[0].startswith(f"metarun: out=figures: holds a run already ({name})")
    assert [p.name for p in Path("figures").iterdir()] == [name]


def test_many_test_episodes_do_not_delay_the_start(metarun: Metarun) -> None:
    """They are hashed after the test."""
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(patch, 1, signal.SIGINT)
        code, _, _ = metarun(*TINY, "out=run", f"test_episodes={10**9}")
    assert code == 130
    assert result("run")["protocol"]["episodes_sha256"] is None


def test_the_command_that_resumed_a_run_is_recorded(run: Metarun) -> None:
    run("resume=run", "steps=6", *TINY[:2])
    record = result("run")["run"]
    assert record["command"].endswith("out=run")
    assert record["resumed_with"] == [f"metarun resume=run steps=6 {' '.join(TINY[:2])}"]


def test_a_learner_without_parameters_is_refused(metarun: Metarun) -> None:
    words = [*TINY[:4], "backbone=mlp", "backbone.hidden=[]", "out=run"]
    code, _, err = metarun(*words)
    assert code == 2
    assert err == [
        "metarun: algo=protonet backbone=mlp: together they have no trainable parameters; "
        "algo=simpleshot, algo=linear_probe and the nearest_* algorithms need none"
    ]
    assert not Path("run").exists()


def test_results_are_kept_when_a_finished_run_continues(run: Metarun) -> None:
    first = Path("run/result.json").read_bytes()
    assert run("resume=run", "steps=6", *TINY[:2])[0] == 0
    assert Path("run/evaluations/after_4_steps/result.json").read_bytes() == first
    for name in ("test_episodes.csv", "test_classes.csv"):
        assert Path("run/evaluations/after_4_steps", name).exists()


@pytest.mark.parametrize("name", [".metarun.lock", ".metarun.holder", "run.log", "metrics.jsonl"])
def test_links_in_a_run_folder_are_not_written_to(run: Metarun, name: str) -> None:
    Path("mine").write_text("precious")
    (Path("run") / name).unlink(missing_ok=True)
    (Path("run") / name).symlink_to(Path("mine").absolute())
    code, _, err = run("resume=run", "steps=6", *TINY[:2])
    assert (code, Path("mine").read_text()) == (2, "precious")
    assert err == [f"metarun: {Path('run') / name}: is a link; a run writes only to its own files"]


@pytest.mark.parametrize("name", ["config.yaml", "checkpoints/last.pt", "run.log"])
def test_a_pipe_in_place_of_a_file_does_not_hang(run: Metarun, name: str) -> None:
    (Path("run") / name).unlink()
    os.mkfifo(Path("run") / name)
    code, _, err = run("resume=run", "steps=6", *TINY[:2])
    assert code in (1, 2)
    assert name in err[0]


def test_a_saved_configuration_does_not_read_the_environment(run: Metarun) -> None:
    file = Path("run/config.yaml")
    file.write_text(file.read_text().replace("tags: []", "tags: ['${oc.env:HOME}']"))
    code, _, err = run("resume=run", "steps=6", *TINY[:2])
    assert code == 2
    assert err == [f"metarun: {file}: contains ${{…}}, which metarun never writes"]
