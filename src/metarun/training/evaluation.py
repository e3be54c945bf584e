"""Evaluation of a learner on fixed tasks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from metarun.algorithms import Learner
from metarun.tasks.sampler import Sampler
from metarun.training.gradient import adapt

TASKS_AT_ONCE = 8  # constant, so that results do not depend on a batch size


class Workers(Protocol):
    """Interface of `workers.Workers`, the processes that divide an evaluation.

    Attributes:
        size: the number of processes.
    """

    size: int

    def send_weights(self) -> None:
        """Send the learner's weights, buffers and kind of batch norm to the others."""

    def scores(self, sampler: Sampler, some: Sequence[range]) -> list[dict[str, float]]:
        """The scores of the tasks of these blocks, at most one block for each process."""


def evaluate(
    learner: Learner,
    sampler: Sampler,
    episodes: int,
    proceed: Callable[[int], None] = lambda done: None,
    workers: Workers | None = None,
) -> dict[str, np.ndarray]:
    """The scores of a learner on the first `episodes` tasks, without training.

    Args:
        proceed: called after each batch with the number of finished tasks; may raise to stop.
        workers: divide the tasks among them.

    Returns:
        The name of each score and its values, (episodes).
    """
    blocks = [
        range(start, min(start + TASKS_AT_ONCE, episodes))
        for start in range(0, episodes, TASKS_AT_ONCE)
    ]
    if workers is not None:
        workers.send_weights()
    together = 1 if workers is None else workers.size
    scores: dict[str, list[float]] = {}
    for start in range(0, len(blocks), together):
        some = blocks[start : start + together]
        alone = workers is None
        found = score(learner, sampler, some[0]) if alone else workers.scores(sampler, some)
        for scores_of_task in found:
            for name, value in scores_of_task.items():
                scores.setdefault(name, []).append(value)
        proceed(some[-1].stop)
    return {name: np.array(values) for name, values in scores.items()}


@torch.no_grad()
def score(learner: Learner, sampler: Sampler, numbers: range) -> list[dict[str, float]]:
    """The scores of each of the tasks with these numbers, which are computed together."""
    training = learner.training
    learner.eval()
    try:
        tasks = sampler.tasks(numbers)
        judged = [
            task.query.judge(model)
            for task, model in zip(tasks, adapt(learner, tasks), strict=True)
        ]
    finally:
        learner.train(training)
    return [{name: float(value) for name, value in scores.items()} for _, scores in judged]
