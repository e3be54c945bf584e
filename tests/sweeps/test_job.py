"""The value of a run that a sweeper or a search maximises."""

from __future__ import annotations

import math
from typing import Any

import pytest

from metarun.sweeps.job import objective
from metarun.tasks.headline import Headline


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
