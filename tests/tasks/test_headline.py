"""Which score learners are judged by, as files say it, and how its figures are written."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.tasks.headline import ACCURACY, MSE, UNKNOWN, Headline

RETURN = Headline("return", higher_is_better=True, title="return of an episode")


def test_accuracy_is_a_percentage_on_screens_and_others_are_not() -> None:
    assert ACCURACY.figure({"mean": 0.98412, "ci95": 0.00301}) == "98.41 ± 0.30 %"
    assert ACCURACY.figure({"mean": 0.5, "ci95": None}) == "50.00 %"
    assert ACCURACY.text(0.98412) == "98.4 %"
    assert MSE.figure({"mean": 0.12345, "ci95": 0.01}) == "0.1235 ± 0.0100"
    assert RETURN.figure({"mean": -21.5}) == "-21.5000"
    assert MSE.text(2) == "2.0000"


@pytest.mark.parametrize(
    "stat", [None, 1, "x", [], {}, {"mean": None}, {"mean": "1"}, {"mean": True}, {"mean": 10**400}]
)
def test_what_is_no_figure_is_a_dash(stat: Any) -> None:
    assert ACCURACY.figure(stat) == ACCURACY.figure_in({"accuracy": stat}) == "–"
    assert UNKNOWN.figure_in({"accuracy": {"mean": 1.0}}) == UNKNOWN.figure_in(stat) == "–"


def test_better_follows_the_direction_and_a_tie_keeps_the_old_one() -> None:
    assert ACCURACY.better(0.6, 0.5) and RETURN.better(-1, -2) and MSE.better(0.5, 0.6)
    for headline in (ACCURACY, MSE, RETURN):
        assert not headline.better(0.5, 0.5)
        assert headline.better(0.5, math.nan)
        assert not headline.better(math.nan, 0.5)
        assert not headline.better(math.nan, math.nan)
        assert headline.better(2, 1) == (headline.worth(2) > headline.worth(1))


def test_a_result_says_it_or_has_one_of_the_older_scores() -> None:
    told = json.loads(json.dumps({"protocol": {"headline": RETURN.as_dict()}, "test": {"mse": 1}}))
    assert Headline.of(told) == RETURN
    assert Headline.of(told).name == "return of an episode"
    assert Headline.of({"test": {"loss": 1, "mse": {}}}) == MSE
    assert Headline.of({"test": None, "val": {"accuracy": {}}}) == ACCURACY
    assert not Headline.of({"val": {"loss": 1}})
    assert MSE.selection == "lowest validation mse"


def test_a_title_makes_no_other_score() -> None:
    assert Headline("mse", False, title="squared error of amplitudes") == MSE
    assert Headline("mse", True) != MSE


@pytest.mark.parametrize(
    "said",
    [
        *(None, [], "return", {}, {"score": "return"}, {"higher_is_better": True}),
        *(
            {"score": s, "higher_is_better": True}
            for s in ("", 1, ["a"], "a\n", "\u202ea", "x" * 99)
        ),
        {"score": "return", "higher_is_better": 1},
        {"score": "return", "higher_is_better": True, "percent": "yes"},
    ],
)
def test_what_says_nothing_is_passed_over(said: Any) -> None:
    assert Headline.of({"protocol": {"headline": said}, "val": {"accuracy": {}}}) == ACCURACY
    assert Headline.of({"protocol": {"headline": said}}) == UNKNOWN


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=60),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)
SAID = st.fixed_dictionaries(
    {"score": JSON, "higher_is_better": st.booleans() | JSON},
    optional={"percent": JSON, "title": JSON},
)


@given(JSON | st.fixed_dictionaries({"headline": SAID | JSON}), JSON, JSON)
def test_whatever_a_result_holds_its_words_are_short_and_plain(
    protocol: Any, test: Any, val: Any
) -> None:
    found = Headline.of({"protocol": protocol, "test": test, "val": val})
    assert f"{found.score}{found.name}".isprintable()
    assert len(found.name) <= 80
    found.figure_in(test)
