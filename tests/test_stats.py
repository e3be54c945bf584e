"""Intervals over classes, paired differences against the t-test of SciPy, Holm's correction."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from metarun.stats import difference, holm, interval, over_classes

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


def tasks_of(rng: np.random.Generator, episodes: int, classes: int, ways: int) -> np.ndarray:
    """The classes (episodes, ways) of random tasks."""
    return np.argsort(rng.random((episodes, classes)), axis=1)[:, :ways]


@pytest.mark.parametrize(("classes", "ways"), [(20, 5), (60, 5), (60, 10)])
def test_the_interval_over_classes_covers_the_mean_of_all_classes(classes: int, ways: int) -> None:
    """Known effects of classes and of pairs of classes, which the model does not have."""
    rng, covered, over_episodes, runs = np.random.default_rng(0), 0, 0, 200
    for _ in range(runs):
        of_tasks = tasks_of(rng, 300, classes, ways)
        effects, confusions = rng.normal(0, 0.03, classes), rng.normal(0, 0.02, (classes, classes))
        scores = 0.9 + effects[of_tasks].mean(1) + rng.normal(0, 0.03, 300)
        scores += confusions[of_tasks[:, :, None], of_tasks[:, None]].mean((1, 2))
        error = abs(scores.mean() - 0.9)
        covered += error <= over_classes(scores, of_tasks)
        over_episodes += error <= interval(scores)["ci95"]
    assert 0.90 <= covered / runs <= 0.98
    assert over_episodes / runs < 0.7


def test_the_interval_over_classes_covers_the_accuracy_of_a_classifier() -> None:
    """Nearest prototypes in the plane; the true accuracy is that over very many classes."""
    rng = np.random.default_rng(0)

    def accuracies(centres: np.ndarray, of_tasks: np.ndarray) -> np.ndarray:
        points = centres[of_tasks]  # (episodes, ways, 2)
        prototypes = points + rng.normal(0, 0.3, points.shape)
        queries = points[:, :, None] + rng.normal(0, 0.3, (*points.shape[:2], 3, 2))
        distances = ((queries[:, :, :, None] - prototypes[:, None, None]) ** 2).sum(-1)
        right = distances.argmin(-1) == np.arange(of_tasks.shape[1])[None, :, None]
        return right.mean((1, 2))

    many = rng.normal(size=(100_000, 2))
    truth = accuracies(many, np.arange(100_000).reshape(-1, 5)).mean()
    covered, over_episodes, runs = 0, 0, 200
    for _ in range(runs):
        of_tasks = tasks_of(rng, 400, 40, 5)
        scores = accuracies(rng.normal(size=(40, 2)), of_tasks)
        covered += abs(scores.mean() - truth) <= over_classes(scores, of_tasks)
        over_episodes += abs(scores.mean() - truth) <= interval(scores)["ci95"]
    assert 0.92 <= covered / runs <= 0.98
    assert over_episodes / runs < 0.8


def test_the_interval_over_classes_is_that_of_a_bootstrap_over_classes() -> None:
    """With many episodes: classes are drawn again, and a task counts as often as it can be made."""
    rng = np.random.default_rng(0)
    of_tasks, effects = tasks_of(rng, 20_000, 150, 2), rng.normal(0, 0.05, 150)
    scores = 0.8 + effects[of_tasks].mean(1) + rng.normal(0, 0.02, 20_000)
    means = []
    for _ in range(1000):
        times = np.bincount(rng.integers(150, size=150), minlength=150)
        weights = times[of_tasks].prod(1)
        means.append(weights @ scores / weights.sum())
    assert over_classes(scores, of_tasks) == pytest.approx(1.976 * np.std(means), rel=0.06)


def test_without_effects_of_classes_the_interval_is_about_that_over_episodes() -> None:
    rng, ratios = np.random.default_rng(0), []
    for _ in range(50):
        of_tasks, scores = tasks_of(rng, 1000, 400, 5), rng.normal(size=1000)
        ratios.append(over_classes(scores, of_tasks) / interval(scores)["ci95"])
    assert min(ratios) > 0.99
    assert np.mean(ratios) < 1.1


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 6), st.integers(2, 40))
def test_the_interval_over_classes_does_not_depend_on_their_numbers_or_the_order_of_episodes(
    seed: int, ways: int, more: int, episodes: int
) -> None:
    rng = np.random.default_rng(seed)
    of_tasks, scores = tasks_of(rng, episodes, ways + more, ways), rng.uniform(size=episodes)
    half_width, order = over_classes(scores, of_tasks), rng.permutation(episodes)
    renamed = rng.permutation(100)[of_tasks]
    for other in (over_classes(scores[order], renamed[order]), over_classes(scores + 1, of_tasks)):
        assert other == pytest.approx(half_width, rel=1e-6, abs=1e-9, nan_ok=True)


@pytest.mark.parametrize(
    ("scores", "of_tasks"),
    [
        ([0.5], [[0, 1]]),
        ([0.5, 0.6, 0.7], [[0, 1], [1, 0], [0, 1]]),
        ([0.5, np.inf, 0.7], [[0, 1], [1, 2], [0, 3]]),
    ],
)
def test_there_is_no_interval_over_classes_that_cannot_be_told_apart(
    scores: list[float], of_tasks: list[list[int]]
) -> None:
    assert np.isnan(over_classes(np.array(scores), np.array(of_tasks)))
