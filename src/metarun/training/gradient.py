"""The meta-gradient of a batch of tasks, and adaptation to a batch of tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.tasks.task import Model, Task
from metarun.training.blocks import Part, blocks, combine, running_averages


def accumulate(learner: Learner, tasks: Sequence[Task], seed: int) -> list[dict[str, Tensor]]:
    """Set `.grad` of the parameters to the gradient of the mean outer loss over the tasks.

    Args:
        seed: seeds the random numbers that the learner draws, together with the task number.

    Returns:
        The scores of each task: scalars without a graph.
    """
    some = (tasks[block.start : block.stop] for block in blocks(learner, len(tasks)))
    return combine(learner, (part(learner, block, len(tasks), seed) for block in some))


def part(learner: Learner, tasks: Sequence[Task], count: int, seed: int) -> Part:
    """The contribution of a block of tasks to a step of `count` tasks; `learner` stays as it was.

    Only the graphs of `learner.tasks_at_once` tasks are in memory at a time, or those of all tasks
    if the learner is joint. Buffers other than running averages change; see `blocks.obstacle`.
    """
    size = len(tasks) if learner.joint else learner.tasks_at_once
    averages = running_averages(learner)
    before = [buffer.clone() for buffer in averages]
    scores: list[dict[str, Tensor]] = []
    learner.zero_grad()
    try:
        for start in range(0, len(tasks), size):
            seed_draws(seed, tasks[start].number)
            chunk = learner.outer_losses(tasks[start : start + size])
            losses, scores_of_chunk = zip(*chunk, strict=True)
            (torch.stack(losses).sum() / count).backward()
            scores += scores_of_chunk
        gradients = [parameter.grad for parameter in learner.parameters()]
        return Part(scores, gradients, [buffer.clone() for buffer in averages])
    finally:
        learner.zero_grad()
        for buffer, value in zip(averages, before, strict=True):
            buffer.copy_(value)


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
