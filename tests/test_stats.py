"""Paired differences, against the paired t-test of SciPy, and Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metarun.stats import difference, holm

scores = st.lists(st.integers(0, 75).map(lambda correct: correct / 75), min_size=2, max_size=40)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    a = draw(scores)
    b = draw(st.lists(st.sampled_from(a), min_size=len(a), max_size=len(a)))
    return np.array(a), np.array(b)


@pytest.mark.parametrize("n", [2, 3, 50, 1000])
def test_difference_agrees_with_the_paired_t_test(n: int) -> None:
    rng = np.random.default_rng(n)
    a = rng.uniform(0, 1, n)
    b = a + rng.normal(0.02, 0.1, n)
    expected = stats.ttest_rel(a, b)
    low, high = expected.confidence_interval(0.95)
    actual = difference(a, b)
    assert actual.p == pytest.approx(expected.pvalue)
    assert (actual.mean - actual.ci95, actual.mean + actual.ci95) == pytest.approx((low, high))


def test_the_paired_test_is_more_sensitive_than_an_unpaired_one() -> None:
    rng = np.random.default_rng(0)
    hardness = rng.uniform(0.2, 1, 200)  # of the episodes, common to a and b
    a, b = hardness, hardness - 0.01 + rng.normal(0, 0.02, 200)
    assert difference(a, b).p < 1e-6
    assert stats.ttest_ind(a, b).pvalue > 0.5


@given(pairs())
def test_swapping_the_arguments_negates_the_mean(pair: tuple[np.ndarray, np.ndarray]) -> None:
    a, b = pair
    ab, ba = difference(a, b), difference(b, a)
    assert ab.mean == -ba.mean
    assert (ab.ci95, ab.p) == (ba.ci95, ba.p)
    assert 0 <= ab.p <= 1 and ab.ci95 >= 0


@given(pairs(), st.integers(-8, 8).map(lambda k: k / 16))
def test_adding_a_constant_to_both_changes_nothing(
    pair: tuple[np.ndarray, np.ndarray], constant: float
) -> None:
    a, b = pair
    assert difference(a + constant, b + constant) == pytest.approx(difference(a, b), abs=1e-9)


def test_constant_differences_have_an_interval_of_width_zero() -> None:
    a = np.array([0.25, 0.5, 1.0])
    assert difference(a, a) == (0.0, 0.0, 1.0)
    assert difference(a, a - 0.125) == (0.125, 0.0, 0.0)


def test_holms_correction() -> None:
    # By hand: sorted 0.01, 0.03, 0.04 → 0.03, 0.06 and max(0.04, 0.06).
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=10))
def test_holm_is_between_no_correction_and_bonferroni(p: list[float]) -> None:
    for uncorrected, corrected in zip(p, holm(p), strict=True):
        assert uncorrected <= corrected <= min(1, len(p) * uncorrected)
