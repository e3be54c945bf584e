"""What a sweeper or a search is told of a run."""

from __future__ import annotations

import math
from typing import Any

import pytest

from metarun.sweeps.job import objective
from metarun.tasks.headline import Headline


def named(score: str, higher: bool) -> dict[str, Any]:
    return {"headline": Headline(score, higher).as_dict()}


@pytest.mark.parametrize(
    ("protocol", "val", "value"),
    [
        ({}, {"loss": {"mean": 2.0}, "accuracy": {"mean": 0.5}}, 0.5),
        ({}, {"mse": {"mean": 0.5}}, -0.5),
        (named("return", True), {"return": {"mean": -7.0}, "mse": {"mean": 1.0}}, -7.0),
        (named("mae", False), {"mae": {"mean": 7.0}, "accuracy": {"mean": 1.0}}, -7.0),
    ],
)
def test_the_better_the_more(protocol: dict, val: dict, value: float) -> None:
    assert objective({"protocol": protocol, "val": val}) == value


@pytest.mark.parametrize("val", [None, {}, {"loss": {"mean": 1.0}}, {"accuracy": {"mean": None}}])
def test_no_figure_is_no_number(val: Any) -> None:
    assert math.isnan(objective({"val": val}))
    assert math.isnan(objective({"protocol": named("return", True), "val": val}))
