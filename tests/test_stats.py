"""Paired differences agree with scipy's paired t-test, and have its symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metarun.stats import difference, holm

scores = st.lists(st.integers(0, 75).map(lambda right: right / 75), min_size=2, max_size=40)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    a = draw(scores)
    b = draw(st.lists(st.sampled_from(a), min_size=len(a), max_size=len(a)))
    return np.array(a), np.array(b)


@pytest.mark.parametrize("n", [2, 3, 50, 1000])
def test_it_is_the_paired_t_test(n: int) -> None:
    rng = np.random.default_rng(n)
    a = rng.uniform(0, 1, n)
    b = a + rng.normal(0.02, 0.1, n)
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval(0.95)
    found = difference(a, b)
    assert found.p == pytest.approx(expected.pvalue)
    assert (found.mean - found.ci95, found.mean + found.ci95) == pytest.approx((low, high))


def test_pairing_finds_what_two_separate_intervals_would_not() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.uniform(0.2, 1, 200)  # of the episodes, for both
    a, b = hardness, hardness - 0.01 + rng.normal(0, 0.02, 200)
    assert difference(a, b).p < 1e-6
    assert stats.ttest_ind(a, b).pvalue > 0.5


@given(pairs())
def test_the_other_way_round_it_is_the_negative(both: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = both
    there, back = difference(a, b), difference(b, a)
    assert there.mean == -back.mean
    assert (there.ci95, there.p) == (back.ci95, back.p)
    assert 0 <= there.p <= 1 and there.ci95 >= 0


@given(pairs(), st.integers(-8, 8).map(lambda k: k / 16))
def test_what_is_added_to_both_changes_nothing(
    both: tuple[np.ndarray, np.ndarray], more: float
) -> None:
    a, b = both
    assert difference(a + more, b + more) == pytest.approx(difference(a, b), abs=1e-9)


def test_the_same_scores_are_no_difference_and_a_constant_one_is_certain() -> None:
    a = np.array([0.25, 0.5, 1.0])
    assert difference(a, a) == (0.0, 0.0, 1.0)
    assert difference(a, a - 0.125) == (0.125, 0.0, 0.0)


def test_holms_correction() -> None:
    # By hand: sorted 0.01, 0.03, 0.04 → 0.03, 0.06, and 0.04 not below the one before.
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_lies_between_no_correction_and_bonferronis(p: list[float]) -> None:
    for one, corrected in zip(p, holm(p), strict=True):
        assert one <= corrected <= min(1, len(p) * one)
