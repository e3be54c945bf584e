"""Probabilities from scores: a temperature that is fitted on items that were left out."""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import brentq
from scipy.special import softmax

RANGE = 12.0  # of the logarithm of the temperature, around that of the spread of the scores


def probabilities(scores: np.ndarray, temperature: float) -> np.ndarray:
    """Softmax of scores / temperature: (items, N) → (items, N)."""
    return softmax(scores / temperature, axis=1)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """The temperature at which the mean of the largest probabilities is the accuracy.

    Clarté, Loureiro, Krzakala & Zdeborová 2023, "Expectation consistency for calibration of neural
    networks". The likelihood would depend mostly on the margins of a few wrong items. The accuracy
    of n items counts as if one more had been right and one wrong (Laplace's rule of succession):
    otherwise a few items that are all right would have the temperature 0, and so every other item
    the probability 1.

    Args:
        scores: (n, N) of items that the classifier has not been adapted to.
        labels: (n) numbers of their classes.

    Returns:
        The temperature; 1 if all scores of each item are equal.
    """
    spread = float(np.ptp(scores, axis=1).mean())
    if spread == 0:
        return 1.0
    right = int((scores.argmax(1) == labels).sum())
    accuracy = (right + 1) / (len(labels) + 2)

    def excess(log_temperature: float) -> float:
        return probabilities(scores, math.exp(log_temperature)).max(1).mean() - accuracy

    low, high = math.log(spread) - RANGE, math.log(spread) + RANGE
    if excess(low) < 0:  # scores are equal for some items
        return math.exp(low)
    if excess(high) > 0:  # no better than chance
        return math.exp(high)
    return math.exp(brentq(excess, low, high))
