"""Confidence intervals and significance tests over episodes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
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
