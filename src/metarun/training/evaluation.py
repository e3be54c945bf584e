"""A learner on frozen tasks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from metarun.algorithms import Learner
from metarun.tasks.sampler import Sampler
from metarun.training.gradient import adapt

TASKS_AT_ONCE = 8  # a constant: a figure must not depend on how its tasks were batched


@torch.no_grad()
def evaluate(
    learner: Learner,
    sampler: Sampler,
    episodes: int,
    proceed: Callable[[int], None] = lambda done: None,
) -> dict[str, np.ndarray]:
    """Scores of each of the first `episodes` tasks, each (episodes).

    Args:
        proceed: called with the number of tasks done after each batch; it may raise to stop.
    """
    training = learner.training
    learner.eval()
    found: dict[str, list[float]] = {}
    try:
        for start in range(0, episodes, TASKS_AT_ONCE):
            numbers = range(start, min(start + TASKS_AT_ONCE, episodes))
            tasks = sampler.tasks(numbers)
            for task, model in zip(tasks, adapt(learner, tasks), strict=True):
                for name, value in task.query.judge(model).scores.items():
                    found.setdefault(name, []).append(float(value))
            proceed(numbers.stop)
    finally:
        learner.train(training)
    return {name: np.array(values) for name, values in found.items()}
