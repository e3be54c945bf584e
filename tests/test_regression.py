"""Regression on sine waves: configuration, runs, results and all learners that support it."""

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
from hydra.utils import get_class
from omegaconf import OmegaConf

from metarun.algorithms.maml import MAML
from metarun.backbones.mlp import MLP
from metarun.config.compose import compose, plain
from metarun.config.groups import files
from metarun.config.instantiate import blueprint
from metarun.data.sinusoid import Waves
from metarun.runs import checkpoint
from metarun.runs.metrics import read_metrics
from metarun.tasks.gathered import source_of
from metarun.tasks.objectives import REGRESSION
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Spec, Task
from metarun.testing import predict
from tests.algorithms.learners import OF_RATINGS, OPTIMIZERS, POLICIES
from tests.conftest import TINY, scores_of

Metarun = Callable[..., tuple[int, str, list[str]]]
SHORT = ["data=sinusoid", "algo=maml", "shots=10", "debug=tiny", "threads=1", "out=run"]


def result(run: str | Path) -> dict[str, Any]:
    return json.loads((Path(run) / "result.json").read_text("utf-8"))


def test_defaults_are_the_settings_of_the_paper() -> None:
    config = plain(compose(["algo=maml", "data=sinusoid", "shots=10"]))
    assert config["choices"]["backbone"] == "mlp_regression"
    assert (config["backbone"]["hidden"], config["backbone"]["batch_norm"]) == ([40, 40], False)
    assert (config["algo"]["inner_lr"], config["algo"]["inner_steps"]) == (0.01, 1)
    assert (config["meta_batch"], config["ways"], config["shots"]) == (25, 1, 10)


def test_overrides_have_priority_over_defaults_for_the_data() -> None:
    overrides = ["algo=maml", "data=sinusoid", "backbone=mlp", "algo.inner_lr=0.5", "meta_batch=3"]
    config = plain(compose(overrides))
    assert config["choices"]["backbone"] == "mlp"
    assert config["backbone"]["hidden"] == [256, 128, 64, 64]
    assert (config["algo"]["inner_lr"], config["meta_batch"]) == (0.5, 3)


def test_other_data_does_not_change_the_defaults_of_the_learner() -> None:
    config = plain(compose(["algo=maml", "data=omniglot"]))
    assert (config["algo"]["inner_lr"], config["meta_batch"], config["ways"]) == (0.4, 16, 5)
    assert config["choices"]["backbone"] == "conv4_strided"


def test_a_run_reports_mse_and_no_accuracy(metarun: Metarun) -> None:
    code, out, err = metarun(*SHORT)
    assert (code, err) == (0, [])
    test, protocol = result("run")["test"], result("run")["protocol"]
    assert test.keys() == {"loss", "mse", "episodes"}
    assert test["mse"].keys() == {"mean", "ci95"}  # there are no classes to have an interval over
    assert not Path("run/test_classes.csv").exists()
    assert test["mse"] == test["loss"]
    assert protocol["selection"] == "lowest validation mse"
    assert (protocol["ways"], protocol["shots"]) == (1, 10)
    assert f"{test['mse']['mean']:.4f}" in out
    assert " 10-shot " in out
    assert "way" not in out
    rows = list(csv.DictReader(Path("run/test_episodes.csv").read_text().splitlines()))
    mean = np.mean([float(r["mse"]) for r in rows])
    assert test["mse"]["mean"] == pytest.approx(mean)
    for line in read_metrics(Path("run")):
        assert "mse" in line
        assert "accuracy" not in line
    for name in ("curves.png", "episodes.png"):
        assert Path("run", name).read_bytes().startswith(b"\x89PNG")


def test_the_checkpoint_with_the_lowest_error_is_tested(metarun: Metarun) -> None:
    metarun(*SHORT, "steps=8", "optimizer.lr=0.3")  # the error does not decrease monotonically
    validations = [x for x in read_metrics(Path("run")) if x["split"] == "val"]
    errors = [x["mse"] for x in validations]
    assert errors != sorted(errors, reverse=True)
    assert result("run")["val"]["best_step"] == validations[int(np.argmin(errors))]["step"]


def test_a_run_is_evaluated_with_other_shots_and_inner_steps(metarun: Metarun) -> None:
    metarun(*SHORT)
    code, out, err = metarun("evaluate", "run=run", "shots=5", "algo.test_inner_steps=1")
    assert (code, err) == (0, [])
    assert " 5-shot " in out


def test_invalid_numbers_of_ways_are_refused(metarun: Metarun) -> None:
    for overrides, messages in (
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
        code, _, err = metarun(*SHORT, *overrides)
        assert (code, err) == (2, [f"metarun: {message}" for message in messages])
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


def test_without_inner_steps_maml_is_regression_on_the_queries_of_all_tasks() -> None:
    """This is the baseline of the paper, pretraining on all tasks."""
    torch.manual_seed(0)
    learner = MAML(
        MLP((1,), hidden=[8], batch_norm=False), WAVES, inner_lr=0.02, inner_steps=0
    ).double()
    tasks = waves(5, 6, 4)
    error = scores_of(learner, tasks)["mse"].mean()
    gradients = [p.grad.clone() for p in learner.parameters()]
    learner.zero_grad()
    x, y = (torch.cat([getattr(task.query, part) for task in tasks]) for part in "xy")
    pooled = (learner.net(x) - y).square().mean()
    pooled.backward()
    torch.testing.assert_close(error, pooled.detach())
    torch.testing.assert_close(gradients, [p.grad for p in learner.parameters()])


def test_an_inner_step_of_a_linear_model_is_a_least_squares_step() -> None:
    """Without hidden layers, it is w − α·∂/∂w of the mean of (wx + b − y)² over the support."""
    learner = MAML(MLP((1,), hidden=[]), WAVES, inner_lr=0.01, test_inner_steps=1).double()
    w, b = (p.item() for p in learner.net[1].parameters())
    (task,) = waves(5, 6, 1, seed=1)
    x, y = task.support.x, task.support.y
    error = w * x + b - y
    w, b = w - 0.01 * (2 * error * x).mean(), b - 0.01 * (2 * error).mean()
    (actual,) = predict(learner.eval(), [task])
    torch.testing.assert_close(actual, w * task.query.x + b)


def test_a_resumed_run_equals_an_uninterrupted_one(metarun: Metarun) -> None:
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
    """Return the blueprint of a learner with its defaults, but an inner learning rate of 0.01."""
    node = plain(compose([f"algo={name}"]))["algo"]
    return blueprint("algo", node | ({"inner_lr": 0.01} if "inner_lr" in node else {}))


REGRESSING = [  # read from the files, as to compose each learner takes seconds
    name
    for name, file in files("algo").items()
    if name not in (*OF_RATINGS, *OPTIMIZERS, *POLICIES)
    and not get_class(OmegaConf.load(file)["_target_"]).needs_labels
]


@pytest.mark.parametrize("name", REGRESSING)
def test_all_learners_without_needs_labels_learn_regression(name: str) -> None:
    torch.manual_seed(0)
    net = MLP((1,), hidden=[20, 20], batch_norm=False)
    learner = planned(name)(net, replace(WAVES, shots=10)).double()
    tasks = waves(10, 10, 4)
    assert predict(learner.eval(), tasks).shape == (4, 10, 1)
    learner.train()
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    errors = []
    for _ in range(30):
        optimizer.zero_grad()
        errors.append(scores_of(learner, tasks)["mse"].mean().item())
        optimizer.step()
    assert errors[-1] < 0.9 * errors[0]


@pytest.mark.parametrize("name", WAVE_LEARNERS)
def test_all_learners_with_settings_for_sinusoid_run(metarun: Metarun, name: str) -> None:
    assert name in REGRESSING
    code, _, err = metarun(*SHORT, f"algo={name}", "steps=2", "eval_every=1")
    assert (code, err) == (0, [])
    assert Path("run/episodes.png").is_file()
