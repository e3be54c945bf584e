"""The meta-gradient of a batch of tasks, and adaptation to a batch of tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.tasks.task import Model, Task


def accumulate(learner: Learner, tasks: Sequence[Task], seed: int) -> list[dict[str, Tensor]]:
    """Add the gradient of the mean outer loss over the tasks to `.grad` of the parameters.

    Only the graphs of `learner.tasks_at_once` tasks are in memory at a time, or those of all tasks
    if the learner is joint.

    Args:
        seed: seeds the random numbers that the learner draws, together with the task number.

    Returns:
        The scores of each task: scalars without a graph.
    """
    size = len(tasks) if learner.joint else learner.tasks_at_once
    scores_of_tasks: list[dict[str, Tensor]] = []
    for start in range(0, len(tasks), size):
        seed_draws(seed, tasks[start].number)
        losses, scores = zip(*learner.outer_losses(tasks[start : start + size]), strict=True)
        (torch.stack(losses).sum() / len(tasks)).backward()
        scores_of_tasks += scores
    return scores_of_tasks


@torch.no_grad()
def adapt(learner: Learner, tasks: Sequence[Task], seed: int = 0) -> list[Model]:
    """A model for each task, without a graph; computed together if the learner supports it."""
    if type(learner).adapt_all is not Learner.adapt_all:
        seed_draws(seed, tasks[0].number)
        return learner.adapt_all([task.support for task in tasks])
    models = []
    for task in tasks:
        seed_draws(seed, task.number)
        models.append(learner.adapt(task.support))
    return models


def seed_draws(seed: int, number: int) -> None:
    """Seed torch's generators from `seed` and the task's number, before a learner draws."""
    state = int(np.random.SeedSequence((seed, number)).generate_state(1)[0])
    torch.default_generator.manual_seed(state)  # torch.manual_seed is a hundred times slower
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(state)
