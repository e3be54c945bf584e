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

ScoresByKind = dict[str, dict[str, float]]  # kind of batch norm → name → score


class Workers(Protocol):
    """Interface of `workers.Workers`, the processes that divide an evaluation.

    Attributes:
        size: the number of processes.
    """

    size: int

    def send_weights(self) -> None:
        """Send the learner's weights and buffers to the others."""

    def scores(
        self, sampler: Sampler, some: Sequence[range], kinds: Sequence[str]
    ) -> list[ScoresByKind]:
        """`score` of the tasks of these blocks, at most one block for each process."""


def evaluate(
    learner: Learner,
    sampler: Sampler,
    episodes: int,
    proceed: Callable[[int], None] = lambda done: None,
    workers: Workers | None = None,
) -> dict[str, np.ndarray]:
    """The scores of a learner on the first `episodes` tasks: `evaluate_kinds` for its batch norm.

    Returns:
        The name of each score and its values, (episodes).
    """
    kinds = [learner.batch_norm]
    return evaluate_kinds(learner, sampler, episodes, kinds, proceed, workers)[kinds[0]]


def evaluate_kinds(
    learner: Learner,
    sampler: Sampler,
    episodes: int,
    kinds: Sequence[str],
    proceed: Callable[[int], None] = lambda done: None,
    workers: Workers | None = None,
) -> dict[str, dict[str, np.ndarray]]:
    """The scores of a learner on the first `episodes` tasks, without training.

    Args:
        kinds: values of `learner.batch_norm`.
        proceed: called after each batch with the number of finished tasks; may raise to stop.
        workers: divide the tasks among them.

    Returns:
        For each kind, the name of each score and its values, (episodes).
    """
    blocks = [
        range(start, min(start + TASKS_AT_ONCE, episodes))
        for start in range(0, episodes, TASKS_AT_ONCE)
    ]
    if workers is not None:
        workers.send_weights()
    together = 1 if workers is None else workers.size
    scores: dict[str, dict[str, list[float]]] = {kind: {} for kind in kinds}
    for start in range(0, len(blocks), together):
        some = blocks[start : start + together]
        if workers is None:
            found = score(learner, sampler, some[0], kinds)
        else:
            found = workers.scores(sampler, some, kinds)
        for of_task in found:
            for kind, of_kind in of_task.items():
                for name, value in of_kind.items():
                    scores[kind].setdefault(name, []).append(value)
        proceed(some[-1].stop)
    return {
        kind: {name: np.array(values) for name, values in of_kind.items()}
        for kind, of_kind in scores.items()
    }


@torch.no_grad()
def score(
    learner: Learner, sampler: Sampler, numbers: range, kinds: Sequence[str]
) -> list[ScoresByKind]:
    """The scores of each of the tasks with these numbers, which are computed together."""
    training, configured = learner.training, learner.batch_norm
    learner.eval()
    judged, models = {}, None
    try:
        tasks = sampler.tasks(numbers)
        for kind in kinds:
            learner.batch_norm = kind
            if models is None or not learner.adapts_alike:
                models = adapt(learner, tasks)
            judged[kind] = [t.query.judge(m).scores for t, m in zip(tasks, models, strict=True)]
    finally:
        learner.batch_norm = configured
        learner.train(training)
    return [
        {kind: {k: float(v) for k, v in scores[t].items()} for kind, scores in judged.items()}
        for t in range(len(tasks))
    ]
