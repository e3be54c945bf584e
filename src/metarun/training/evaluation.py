"""Evaluation of a learner on fixed tasks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from metarun.algorithms import Learner
from metarun.tasks.sampler import Sampler
from metarun.training.gradient import adapt

TASKS_AT_ONCE = 8  # constant, so that results do not depend on a batch size


@torch.no_grad()
def evaluate(
    learner: Learner,
    sampler: Sampler,
    episodes: int,
    proceed: Callable[[int], None] = lambda done: None,
) -> dict[str, np.ndarray]:
    """The scores of a learner on the first `episodes` tasks, without training.

    Args:
        proceed: called after each batch with the number of finished tasks; may raise to stop.

    Returns:
        The name of each score and its values, (episodes).
    """
    training = learner.training
    learner.eval()
    scores: dict[str, list[float]] = {}
    try:
        for start in range(0, episodes, TASKS_AT_ONCE):
            numbers = range(start, min(start + TASKS_AT_ONCE, episodes))
            tasks = sampler.tasks(numbers)
            for task, model in zip(tasks, adapt(learner, tasks), strict=True):
                for name, value in task.query.judge(model).scores.items():
                    scores.setdefault(name, []).append(float(value))
            proceed(numbers.stop)
    finally:
        learner.train(training)
    return {name: np.array(values) for name, values in scores.items()}
