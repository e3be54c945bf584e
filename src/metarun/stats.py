"""Two learners on the same episodes: is their difference more than chance?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit


class Difference(NamedTuple):
    """A mean difference over episodes.

    Attributes:
        mean: of a − b.
        ci95: half-width of its 95 % interval.
        p: of the two-sided paired t-test.
    """

    mean: float
    ci95: float
    p: float


def difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """The mean of a − b with Student's t interval, and the paired t-test of its being 0.

    Where the difference is the same in every episode, the interval has no width, and p is 1 for no
    difference and 0 for any other.

    Args:
        a, b: (episodes) scores on the same episodes, two at least.
    """
    d = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    n, mean = len(d), float(d.mean())
    error = float(d.std(ddof=1)) / math.sqrt(n)
    if error == 0:
        return Difference(mean, 0.0, 1.0 if mean == 0 else 0.0)
    p = 2 * float(stdtr(n - 1, -abs(mean) / error))
    return Difference(mean, float(stdtrit(n - 1, 0.975)) * error, p)


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
