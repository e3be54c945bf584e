"""Confidence intervals over episodes and over classes, and significance tests over episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.special import stdtr, stdtrit


class Difference(NamedTuple):
    """Mean difference over episodes; the fields are arrays if several pairs are compared.

    Attributes:
        mean: mean of a − b.
        ci95: half-width of the 95 % confidence interval of the mean.
        p: p-value of the two-sided paired t-test.
    """

    mean: float
    ci95: float
    p: float


def interval(values: np.ndarray) -> dict[str, float]:
    """Return the mean over episodes and the half-width of its 95 % interval (Student's t).

    The half-width is `nan` for a single episode.
    """
    if len(values) < 2:
        return {"mean": float(values.mean()), "ci95": math.nan}
    mean, ci95, _ = difference(values, np.zeros(len(values)))
    return {"mean": float(mean), "ci95": float(ci95)}


def over_classes(values: np.ndarray, classes: np.ndarray) -> float:
    """Return the half-width of the 95 % interval of the mean over episodes and their classes.

    `interval` holds for other episodes of the same classes. This one also holds for other classes
    of the same kind. The score of episode e is modelled as μ + Σ_c a_ec·u_c + ε_e, where a_ec is
    how often class c is in the episode, and the effects u_c of the classes and the residuals ε_e
    are independent with variances σ² and τ². Then the mean over E episodes has the variance
    σ²·Σ_c(n_c/E)² + τ²/E with n_c = Σ_e a_ec. The two variances are estimated by the method of
    moments (Henderson 1953), from the sum of squares of the centred scores and that of their sums
    over the episodes of each class. The quantile is Student's t for the number of classes.

    Args:
        values: (episodes) scores.
        classes: (episodes, ways) numbers of the classes of each episode.

    Returns:
        `nan` if scores are not finite, or the effects of classes cannot be told from the episodes:
        for a single episode, or if all episodes have the same classes.
    """
    episodes, ways = classes.shape
    numbers, columns = np.unique(classes, return_inverse=True)
    rows = np.repeat(np.arange(episodes), ways)
    ones, shape = np.ones(episodes * ways), (episodes, len(numbers))
    counts = sparse.csr_array((ones, (rows, columns.ravel())), shape)
    n, together = counts.sum(axis=0), counts.T @ counts
    # The expected sums of squares are these multiples of σ² and τ².
    trace = together.trace() - n @ n / episodes
    squares = (together.power(2)).sum() - 2 * ((counts @ n) ** 2).sum() / episodes
    squares += (n @ n / episodes) ** 2
    determinant = squares * (episodes - 1) - trace**2
    if not np.isfinite(values).all() or determinant <= 1e-9 * squares * (episodes - 1):
        return math.nan
    centred = values - values.mean()
    of_classes, of_episodes = ((counts.T @ centred) ** 2).sum(), centred @ centred
    variance = max(0.0, of_classes * (episodes - 1) - of_episodes * trace) / determinant
    rest = max(0.0, of_episodes - variance * trace) / (episodes - 1)
    error = math.sqrt(variance * (n @ n) / episodes**2 + rest / episodes)
    return float(stdtrit(len(numbers) - 1, 0.975) * error)


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Return the mean of a − b, its Student's t interval and the p-value of a paired t-test.

    If the difference is the same in all episodes, the interval has width 0, and p is 1 for a
    difference of 0 and 0 otherwise.

    Args:
        a, b: (…, episodes) scores on the same episodes, of which there must be at least two.
    """
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    n, mean = d.shape[-1], d.mean(-1)
    error = d.std(-1, ddof=1) / math.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = 2 * stdtr(n - 1, -np.abs(mean) / error)
    p = np.where(error == 0, mean == 0, tails)[()]
    return Difference(mean, stdtrit(n - 1, 0.975) * error, p)


def holm(p: Sequence[float]) -> list[float]:
    """Return the p-values of several tests with Holm's correction (Holm 1979).

    If differences with a corrected p-value below 0.05 are called significant, the probability of
    at least one false positive among all tests is at most 5 %.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected
