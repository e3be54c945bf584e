"""A learner on frozen episodes, and which of two scores is better."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from metarun.algorithms import Algorithm
from metarun.stats import interval as interval  # for those who evaluate
from metarun.tasks.objectives import score
from metarun.tasks.sampler import Sampler

TASKS_AT_ONCE = 8  # a constant: a figure must not depend on how its episodes were batched


def evaluate(
    learner: Algorithm,
    sampler: Sampler,
    episodes: int,
    proceed: Callable[[int], None] = lambda done: None,
) -> dict[str, np.ndarray]:
    """Scores of each of the first `episodes` episodes, each (episodes).

    Args:
        proceed: called with the number of episodes done after each batch; it may raise to stop.
    """
    torch.manual_seed(0)  # learners that draw in evaluation draw the same each time
    parts: dict[str, list[np.ndarray]] = {}
    for start in range(0, episodes, TASKS_AT_ONCE):
        numbers = range(start, min(start + TASKS_AT_ONCE, episodes))
        batch = sampler.batch(numbers)
        outputs = learner.predict(batch.support_x, batch.support_y, batch.query_x)
        for name, values in score(outputs, batch.query_y).items():
            parts.setdefault(name, []).append(values.double().cpu().numpy())
        proceed(numbers.stop)
    return {name: np.concatenate(values) for name, values in parts.items()}


def headline(scores: Mapping[str, Any]) -> dict[str, float]:
    """The score that a learner is judged by: accuracy, or the squared error of regression."""
    return scores["accuracy"] if "accuracy" in scores else scores["mse"]


def better(new: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    """Is the validation score `new` better than `old`? A tie keeps the earlier one.

    Any number is better than none (`nan`, which no number can be compared with).
    """
    if math.isnan(headline(old)["mean"]):
        return not math.isnan(headline(new)["mean"])
    difference = headline(new)["mean"] - headline(old)["mean"]
    return difference > 0 if "accuracy" in new else difference < 0
