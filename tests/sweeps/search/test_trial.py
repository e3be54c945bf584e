"""The values that a trial reports to its search, which maximises them."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from metarun.errors import Pruned
from metarun.runs import metrics, results
from metarun.sweeps.search.trial import Reports, objective
from metarun.tasks.headline import ACCURACY, Headline

MAE = Headline("mae", higher_is_better=False)
SCORES = {"loss": 3.0, "mae": 0.25, "accuracy": 0.5}


class Recorder:
    """A study that only records reports."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {}

    def report(self, number: int, step: int, value: float) -> None:
        self.values[step] = value

    def should_prune(self, number: int, every: int) -> bool:
        return False


@pytest.mark.parametrize(
    ("protocol", "value"),
    [({}, 0.5), ({"headline": ACCURACY.as_dict()}, 0.5), ({"headline": MAE.as_dict()}, -0.25)],
)
def test_the_reported_score_is_the_headline_in_the_result_file(
    tmp_path: Path, protocol: dict, value: float
) -> None:
    config = SimpleNamespace(steps=9, eval_every=1)
    reports = Reports(study := Recorder(), 0, tmp_path, config)
    results.write(tmp_path, {"status": "running", "protocol": protocol, "val": None})
    metrics.append(tmp_path, 1, "train", SCORES)
    metrics.append(tmp_path, 2, "val", {**SCORES, "ci95": 0.1})
    metrics.append(tmp_path, 3, "val", {"loss": 3.0, "mae": float("nan"), "accuracy": float("nan")})
    reports.send_missing()
    reports.validated(4, {name: {"mean": mean, "ci95": 0.1} for name, mean in SCORES.items()})
    assert study.values == {2: value, 4: value}


def test_only_a_run_with_steps_to_go_is_pruned(tmp_path: Path) -> None:
    """A validation before the first step is that of a learner with nothing to train."""
    config = SimpleNamespace(steps=9, eval_every=1)
    reports = Reports(study := Recorder(), 0, tmp_path, config)
    study.should_prune = lambda number, every: True
    val = {name: {"mean": mean, "ci95": 0.1} for name, mean in SCORES.items()}
    for step in (0, 9):
        reports.validated(step, val)
    with pytest.raises(Pruned):
        reports.validated(4, val)


def protocol_of(score: str, higher: bool) -> dict[str, Any]:
    return {"headline": Headline(score, higher).as_dict()}


@pytest.mark.parametrize(
    ("protocol", "val", "value"),
    [
        ({}, {"loss": {"mean": 2.0}, "accuracy": {"mean": 0.5}}, 0.5),
        ({}, {"mse": {"mean": 0.5}}, -0.5),
        (protocol_of("return", True), {"return": {"mean": -7.0}, "mse": {"mean": 1.0}}, -7.0),
        (protocol_of("mae", False), {"mae": {"mean": 7.0}, "accuracy": {"mean": 1.0}}, -7.0),
    ],
)
def test_a_better_score_has_a_larger_objective(protocol: dict, val: dict, value: float) -> None:
    assert objective({"protocol": protocol, "val": val}) == value


@pytest.mark.parametrize("val", [None, {}, {"loss": {"mean": 1.0}}, {"accuracy": {"mean": None}}])
def test_the_objective_is_nan_without_a_score(val: Any) -> None:
    assert math.isnan(objective({"val": val}))
    assert math.isnan(objective({"protocol": protocol_of("return", True), "val": val}))
