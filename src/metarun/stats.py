"""Figures over episodes: their intervals, and whether two learners differ by more than chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit


class Difference(NamedTuple):
    """A mean difference over episodes: numbers, or arrays where there are several pairs.

    Attributes:
        mean: of a − b.
        ci95: half-width of its 95 % interval.
        p: of the two-sided paired t-test.
    """

    mean: float
    ci95: float
    p: float


def interval(values: np.ndarray) -> dict[str, float]:
    """Mean over episodes and the half-width of its 95 % interval, by Student's t.

    With one episode there is no interval: `nan`.
    """
    if len(values) < 2:
        return {"mean": float(values.mean()), "ci95": math.nan}
    mean, ci95, _ = difference(values, np.zeros(len(values)))
    return {"mean": float(mean), "ci95": float(ci95)}


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """The mean of a − b with Student's t interval, and the paired t-test of its being 0.

    Where the difference is the same in every episode, the interval has no width, and p is 1 for no
    difference and 0 for any other.

    Args:
        a, b: (…, episodes) scores on the same episodes, two at least.
    """
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    n, mean = d.shape[-1], d.mean(-1)
    error = d.std(-1, ddof=1) / math.sqrt(n)
    with np.errstate(divide="ignore", invalid="ignore"):
        tails = 2 * stdtr(n - 1, -np.abs(mean) / error)
    p = np.where(error == 0, mean == 0, tails)[()]
    return Difference(mean, stdtrit(n - 1, 0.975) * error, p)


def holm(p: Sequence[float]) -> list[float]:
    """The p values of several tests, corrected for their number (Holm 1979).

    A difference is found where the corrected p is below 0.05: then the chance of finding any that
    is not there is 5 % at most, over all the tests.
    """
    corrected, largest = [0.0] * len(p), 0.0
    for rank, i in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        largest = max(largest, min(1.0, (len(p) - rank) * p[i]))
        corrected[i] = largest
    return corrected
