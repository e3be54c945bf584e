"""Headlines: reading them from results, comparison and formatting."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.tasks.headline import ACCURACY, MSE, UNKNOWN, Headline

RETURN = Headline("return", higher_is_better=True, title="return of an episode")


def test_accuracy_is_formatted_as_a_percentage() -> None:
    assert ACCURACY.figure({"mean": 0.98412, "ci95": 0.00301}) == "98.41 ± 0.30 %"
    assert ACCURACY.figure({"mean": 0.5, "ci95": None}) == "50.00 %"
    assert ACCURACY.text(0.98412) == "98.4 %"
    assert MSE.figure({"mean": 0.12345, "ci95": 0.01}) == "0.1235 ± 0.0100"
    assert RETURN.figure({"mean": -21.5}) == "-21.5000"
    assert MSE.text(2) == "2.0000"


@pytest.mark.parametrize(
    "stat", [None, 1, "x", [], {}, {"mean": None}, {"mean": "1"}, {"mean": True}, {"mean": 10**400}]
)
def test_invalid_values_are_formatted_as_a_dash(stat: Any) -> None:
    assert ACCURACY.figure(stat) == ACCURACY.figure_in({"accuracy": stat}) == "–"
    assert UNKNOWN.figure_in({"accuracy": {"mean": 1.0}}) == UNKNOWN.figure_in(stat) == "–"


def test_better_respects_the_direction_and_is_false_for_ties() -> None:
    assert ACCURACY.better(0.6, 0.5) and RETURN.better(-1, -2) and MSE.better(0.5, 0.6)
    for headline in (ACCURACY, MSE, RETURN):
        assert not headline.better(0.5, 0.5)
        assert headline.better(0.5, math.nan)
        assert not headline.better(math.nan, 0.5)
        assert not headline.better(math.nan, math.nan)
        assert headline.better(2, 1) == (headline.worth(2) > headline.worth(1))


def test_the_headline_is_read_or_derived_from_the_scores() -> None:
    result = {"protocol": {"headline": RETURN.as_dict()}, "test": {"mse": 1}}
    result = json.loads(json.dumps(result))
    assert Headline.of(result) == RETURN
    assert Headline.of(result).name == "return of an episode"
    assert Headline.of({"test": {"loss": 1, "mse": {}}}) == MSE
    assert Headline.of({"test": None, "val": {"accuracy": {}}}) == ACCURACY
    assert not Headline.of({"val": {"loss": 1}})
    assert MSE.selection == "lowest validation mse"


def test_equality_ignores_the_title() -> None:
    assert Headline("mse", False, title="squared error of amplitudes") == MSE
    assert Headline("mse", True) != MSE


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        "return",
        {},
        {"score": "return"},
        {"higher_is_better": True},
        {"score": "", "higher_is_better": True},
        {"score": 1, "higher_is_better": True},
        {"score": ["a"], "higher_is_better": True},
        {"score": "a\n", "higher_is_better": True},
        {"score": "\u202ea", "higher_is_better": True},
        {"score": "x" * 99, "higher_is_better": True},
        {"score": "return", "higher_is_better": 1},
        {"score": "return", "higher_is_better": True, "percent": "yes"},
    ],
)
def test_invalid_entries_are_ignored(entry: Any) -> None:
    assert Headline.of({"protocol": {"headline": entry}, "val": {"accuracy": {}}}) == ACCURACY
    assert Headline.of({"protocol": {"headline": entry}}) == UNKNOWN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
ENTRY = st.fixed_dictionaries(
    {"score": JSON, "higher_is_better": st.booleans() | JSON},
    optional={"percent": JSON, "title": JSON},
)


@given(JSON | st.fixed_dictionaries({"headline": ENTRY | JSON}), JSON, JSON)
def test_names_are_short_and_printable_for_any_result(protocol: Any, test: Any, val: Any) -> None:
    headline = Headline.of({"protocol": protocol, "test": test, "val": val})
    assert f"{headline.score}{headline.name}".isprintable()
    assert len(headline.name) <= 80
    headline.figure_in(test)
