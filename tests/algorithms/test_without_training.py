"""Runs of learners that have nothing to train: 0 steps, and every command works on them."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from metarun.config.compose import checked, compose
from metarun.runs import checkpoint
from metarun.runs.metrics import read_metrics
from metarun.training import execution
from metarun.training.parts import assemble
from tests.algorithms.learners import WITHOUT_TRAINING, tiny
from tests.conftest import OWN, TINY

Metarun = Callable[..., tuple[int, str, list[str]]]
FOLDER = TINY[:2]


def result(run: str) -> dict[str, Any]:
    return json.loads((Path(run) / "result.json").read_text("utf-8"))


def accuracy_by_numpy(algo: str) -> list[float]:
    """Return the accuracy of each test episode of `tiny(algo)` with 3 shots."""
    parts = assemble(checked(compose([*tiny(algo)[2:], "shots=3"], str(OWN))), [OWN])
    accuracies = []
    for task in parts.frozen("test").tasks(range(parts.config.test_episodes)):
        support, query = (e.x.flatten(1).double().numpy() for e in (task.support, task.query))
        y = task.support.y.numpy()
        if algo == "nearest_centroid":
            support = np.stack([support[y == label].mean(0) for label in range(5)])
            y = np.arange(5)
        nearest = ((query[:, None] - support) ** 2).sum(-1).argmin(1)
        accuracies.append(float((y[nearest] == task.query.y.numpy()).mean()))
    return accuracies


@pytest.mark.parametrize("algo", WITHOUT_TRAINING)
def test_a_run_is_a_validation_a_test_and_a_checkpoint_without_weights(
    metarun: Metarun, algo: str
) -> None:
    code, _, err = metarun(*tiny(algo), "shots=3", "out=run")
    assert (code, err) == (0, [])
    contents = result("run")
    assert contents["status"] == "completed"
    assert contents["test"]["accuracy"]["mean"] == pytest.approx(np.mean(accuracy_by_numpy(algo)))
    assert contents["val"]["best_step"] == 0
    record = contents["run"]
    assert (record["steps"], record["steps_done"], record["parameters"]) == (0, 0, 0)
    assert record["backbone"] == "identity"
    assert [(x["step"], x["split"]) for x in read_metrics(Path("run"))] == [(0, "val")]
    assert checkpoint.best(Path("run/checkpoints"))["learner"] == {}


def test_it_has_0_steps_whatever_is_typed(metarun: Metarun) -> None:
    """A sweep over algorithms sets `steps` for all of them."""
    assert metarun(*tiny("nearest_centroid"), "steps=7", "out=run")[0] == 0
    assert "\nsteps: 0\n" in Path("run/config.yaml").read_text("utf-8")


def test_with_another_backbone_it_tests_the_initial_weights(metarun: Metarun) -> None:
    words = (*TINY, "algo=nearest_centroid", "backbone=conv4")
    for seed in (0, 1):
        assert metarun(*words, f"seed={seed}", f"out={seed}")[0] == 0
    assert result("0")["run"]["parameters"] > 0
    assert result("0")["test"]["loss"] != result("1")["test"]["loss"]
    assert metarun("evaluate", "run=0", "name=again", *FOLDER)[0] == 0
    assert result("0/evaluations/again")["test"] == result("0")["test"]


def test_a_finished_run_cannot_be_continued(metarun: Metarun) -> None:
    metarun(*tiny("nearest_neighbour"), "out=run")
    before = {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}
    for steps in ([], ["steps=9"]):
        code, _, err = metarun("resume=run", *steps, *FOLDER)
        assert code == 2
        assert err == ["metarun: resume=run: finished; nearest_neighbour has nothing to train"]
    assert before == {p: p.read_bytes() for p in Path("run").rglob("*") if p.is_file()}


def test_a_run_interrupted_in_its_test_is_resumed(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    metarun(*tiny("nearest_neighbour"), "out=whole")
    with monkeypatch.context() as patch:
        evaluate = execution.evaluate

        def interrupted(*args: Any) -> Any:
            os.kill(os.getpid(), signal.SIGTERM)
            return evaluate(*args)

        patch.setattr(execution, "evaluate", interrupted)
        assert metarun(*tiny("nearest_neighbour"), "out=run")[0] == 130
    assert metarun("resume=run", *FOLDER)[0] == 0
    assert result("run")["test"] == result("whole")["test"]
    assert result("run")["val"] == result("whole")["val"]
    assert len(read_metrics(Path("run"))) == 1


def test_it_is_audited_compared_and_reported(metarun: Metarun) -> None:
    for algo in WITHOUT_TRAINING:
        assert metarun(*tiny(algo), "out=runs/" + algo, "audit=full", "shots=2")[0] == 0
    code, out, _ = metarun("audit", "run=runs/nearest_neighbour", "episodes=8", *FOLDER)
    assert code == 0
    assert "meta-gradient: the learner has nothing to train" in out
    code, out, _ = metarun("compare", *(f"runs/{algo}" for algo in WITHOUT_TRAINING))
    assert code == 0
    assert "runs/nearest_centroid − runs/nearest_neighbour" in out
    code, out, _ = metarun("report", "runs")
    assert code == 0
    assert all(algo in out for algo in WITHOUT_TRAINING)
    assert all(algo in Path("runs/report.html").read_text("utf-8") for algo in WITHOUT_TRAINING)


@pytest.mark.parametrize("algo", ["protonet", "maml", "baseline", "nearest_item"])
def test_0_steps_are_refused_where_there_are_weights(metarun: Metarun, algo: str) -> None:
    code, _, err = metarun(*TINY, f"algo={algo}", "steps=0", "out=run")
    assert code == 2
    assert err == [f"metarun: steps=0: {algo} has weights to train; steps should be at least 1"]
    assert not Path("run").exists()
