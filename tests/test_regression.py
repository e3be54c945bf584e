"""Squared error in accuracy's place, from the plain command to the result."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from metarun.algorithms.maml import MAML
from metarun.backbones.mlp import MLP
from metarun.config.compose import compose, plain
from metarun.config.groups import choices
from metarun.config.instantiate import blueprint, target_of
from metarun.data.sinusoid import Waves
from metarun.runs import checkpoint
from metarun.runs.metrics import read_metrics
from metarun.tasks.gathered import source_of
from metarun.tasks.objectives import REGRESSION
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Spec, Task
from metarun.testing import predict
from tests.conftest import TINY, scores_of

Metarun = Callable[..., tuple[int, str, list[str]]]
SHORT = ["data=sinusoid", "algo=maml", "shots=10", "debug=tiny", "threads=1", "out=run"]


def result(run: str | Path) -> dict[str, Any]:
    return json.loads((Path(run) / "result.json").read_text("utf-8"))


def test_the_plain_command_has_the_papers_settings() -> None:
    found = plain(compose(["algo=maml", "data=sinusoid", "shots=10"]))
    assert found["choices"]["backbone"] == "mlp_regression"
    assert (found["backbone"]["hidden"], found["backbone"]["batch_norm"]) == ([40, 40], False)
    assert (found["algo"]["inner_lr"], found["algo"]["inner_steps"]) == (0.01, 1)
    assert (found["meta_batch"], found["ways"], found["shots"]) == (25, 1, 10)


def test_what_is_typed_wins_over_what_the_data_asks_for() -> None:
    typed = ["algo=maml", "data=sinusoid", "backbone=mlp", "algo.inner_lr=0.5", "meta_batch=3"]
    found = plain(compose(typed))
    assert found["choices"]["backbone"] == "mlp"
    assert found["backbone"]["hidden"] == [256, 128, 64, 64]
    assert (found["algo"]["inner_lr"], found["meta_batch"]) == (0.5, 3)


def test_other_data_keeps_the_learners_own_settings() -> None:
    found = plain(compose(["algo=maml", "data=omniglot"]))
    assert (found["algo"]["inner_lr"], found["meta_batch"], found["ways"]) == (0.4, 16, 5)
    assert found["choices"]["backbone"] == "conv4_strided"


def test_mse_stands_where_accuracy_would(metarun: Metarun) -> None:
    code, out, err = metarun(*SHORT)
    assert (code, err) == (0, [])
    found = result("run")
    assert found["test"].keys() == {"loss", "mse", "episodes"}
    assert found["test"]["mse"] == found["test"]["loss"]
    assert found["protocol"]["selection"] == "lowest validation mse"
    assert (found["protocol"]["ways"], found["protocol"]["shots"]) == (1, 10)
    assert f"{found['test']['mse']['mean']:.4f}" in out
    assert " 10-shot " in out
    assert "way" not in out
    rows = list(csv.DictReader(Path("run/test_episodes.csv").read_text().splitlines()))
    mean = np.mean([float(r["mse"]) for r in rows])
    assert found["test"]["mse"]["mean"] == pytest.approx(mean)
    for line in read_metrics(Path("run")):
        assert "mse" in line
        assert "accuracy" not in line
    for name in ("curves.png", "episodes.png"):
        assert Path("run", name).read_bytes().startswith(b"\x89PNG")


def test_the_checkpoint_with_the_lowest_error_is_tested(metarun: Metarun) -> None:
    metarun(*SHORT, "steps=8", "optimizer.lr=0.3")  # an error that goes up and down
    vals = [x for x in read_metrics(Path("run")) if x["split"] == "val"]
    errors = [x["mse"] for x in vals]
    assert errors != sorted(errors, reverse=True)
    assert result("run")["val"]["best_step"] == vals[int(np.argmin(errors))]["step"]


def test_a_trained_run_is_tested_with_other_shots_and_steps(metarun: Metarun) -> None:
    metarun(*SHORT)
    code, out, err = metarun("evaluate", "run=run", "shots=5", "algo.test_inner_steps=1")
    assert (code, err) == (0, [])
    assert " 5-shot " in out


def test_ways_mean_nothing_without_classes_and_two_at_least_with_them(metarun: Metarun) -> None:
    for typed, said in (
        (["ways=5"], ["ways=5: sinusoid has no classes; leave ways out"]),
        (
            ["train_ways=5"],
            [
                "ways=1 train_ways=5: maml has a head for each label, so it is tested with as "
                "many ways as it is trained with",
            ],
        ),
        ([*TINY[:3], "ways=1"], ["ways=1: should be greater than or equal to 2"]),
    ):
        code, _, err = metarun(*SHORT, *typed)
        assert (code, err) == (2, [f"metarun: {line}" for line in said])
        assert not Path("run").exists()


def test_a_classifier_is_refused_in_one_line(metarun: Metarun) -> None:
    code, _, err = metarun("data=sinusoid", "algo=protonet", "shots=10", "out=run")
    assert code == 2
    assert err == [
        "metarun: algo=protonet data=sinusoid: protonet predicts classes, but the targets of "
        "sinusoid are numbers; algo=maml predicts numbers"
    ]
    assert not Path("run").exists()


WAVES = Spec((1,), 1, REGRESSION)


def waves(shots: int, queries: int, count: int, seed: int = 0) -> list[Task]:
    source = source_of(Waves(), (1, shots, queries), dtype=torch.float64)
    return Sampler.training(source, seed).tasks(range(count))


def test_without_inner_steps_it_is_one_network_for_all_tasks() -> None:
    """The paper's comparison, pretraining on all tasks: plain regression on the queries."""
    torch.manual_seed(0)
    learner = MAML(
        MLP((1,), hidden=[8], batch_norm=False), WAVES, inner_lr=0.02, inner_steps=0
    ).double()
    given = waves(5, 6, 4)
    found = scores_of(learner, given)["mse"].mean()
    gradients = [p.grad.clone() for p in learner.parameters()]
    learner.zero_grad()
    x, y = (torch.cat([getattr(task.query, part) for task in given]) for part in "xy")
    pooled = (learner.net(x) - y).square().mean()
    pooled.backward()
    torch.testing.assert_close(found, pooled.detach())
    torch.testing.assert_close(gradients, [p.grad for p in learner.parameters()])


def test_an_inner_step_on_a_line_is_that_of_least_squares() -> None:
    """Without hidden layers, w − α·∂/∂w of the mean of (wx + b − y)² over the support."""
    learner = MAML(MLP((1,), hidden=[]), WAVES, inner_lr=0.01, test_inner_steps=1).double()
    w, b = (p.item() for p in learner.net[1].parameters())
    (task,) = waves(5, 6, 1, seed=1)
    x, y = task.support.x, task.support.y
    error = w * x + b - y
    w, b = w - 0.01 * (2 * error * x).mean(), b - 0.01 * (2 * error).mean()
    (found,) = predict(learner.eval(), [task])
    torch.testing.assert_close(found, w * task.query.x + b)


def test_it_goes_on_as_if_never_stopped(metarun: Metarun) -> None:
    metarun(*SHORT[:-1], "out=whole", "steps=6")
    metarun(*SHORT[:-1], "out=halves", "steps=4")
    assert metarun("resume=halves", "steps=6")[0] == 0
    assert result("whole")["test"] == result("halves")["test"]
    a, b = (
        checkpoint.load_state(Path(r, "checkpoints/last.pt"))["learner"]
        for r in ("whole", "halves")
    )
    assert all(torch.equal(a[k], b[k]) for k in a)


WAVE_LEARNERS = ("anil", "fomaml", "maml", "meta_sgd", "reptile")  # with settings for sine waves


def planned(name: str) -> Callable[..., Any]:
    """The learner with its defaults, but an inner rate that suits errors of this size."""
    node = plain(compose([f"algo={name}"]))["algo"]
    return blueprint("algo", node | ({"inner_lr": 0.01} if "inner_lr" in node else {}))


PLANS = {name: planned(name) for name in choices("algo")}
REGRESSING = [name for name, made in PLANS.items() if not target_of(made).needs_labels]


@pytest.mark.parametrize("name", REGRESSING)
def test_every_learner_that_says_it_regresses_does(name: str) -> None:
    torch.manual_seed(0)
    net = MLP((1,), hidden=[20, 20], batch_norm=False)
    learner = PLANS[name](net, replace(WAVES, shots=10)).double()
    given = waves(10, 10, 4)
    assert predict(learner.eval(), given).shape == (4, 10, 1)
    learner.train()
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    errors = []
    for _ in range(30):
        optimizer.zero_grad()
        errors.append(scores_of(learner, given)["mse"].mean().item())
        optimizer.step()
    assert errors[-1] < 0.9 * errors[0]


@pytest.mark.parametrize("name", WAVE_LEARNERS)
def test_every_learner_with_settings_for_waves_runs_with_them(metarun: Metarun, name: str) -> None:
    assert name in REGRESSING
    code, _, err = metarun(*SHORT, f"algo={name}", "steps=2", "eval_every=1")
    assert (code, err) == (0, [])
    assert Path("run/episodes.png").is_file()
