"""Accuracy of the nearest support picture, by raw pixels, on the frozen test episodes.

    .venv/bin/python scripts/nearest_pixel.py data=glyphs shots=1

Takes the keys of `metarun`. A trained learner has to be far above this figure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np
import torch

from metarun.config.compose import checked, compose
from metarun.stats import interval
from metarun.tasks.headline import ACCURACY
from metarun.tasks.task import Task
from metarun.training.parts import assemble


def nearest_item(task: Task) -> torch.Tensor:
    """(N·Q) the label of the support picture that is nearest to each query."""
    distance = torch.cdist(task.query.x.flatten(1), task.support.x.flatten(1))
    return task.support.y[distance.argmin(-1)]


def report(
    typed: list[str], what: str, labels: Callable[[Task], torch.Tensor] = nearest_item
) -> None:
    """Print the accuracy on the frozen test episodes, with its interval.

    Args:
        typed: keys of `metarun`.
        what: the name of the method.
        labels: of the queries of a task.
    """
    parts = assemble(checked(compose(typed)))
    sampler, config = parts.frozen("test"), parts.config
    number = config.test_episodes
    tasks = (task for i in range(number) for task in sampler.tasks([i]))
    scores = np.array([float((labels(t) == t.query.y).double().mean()) for t in tasks])
    print(
        f"{config.choices.data} {config.ways}-way {config.shots}-shot, "
        f"{what}: {ACCURACY.figure(interval(scores))} ({number} episodes)"
    )


if __name__ == "__main__":
    report(sys.argv[1:], "nearest pixels")
