"""Print the accuracy of the nearest support image in raw pixels on the frozen test episodes.

    .venv/bin/python scripts/nearest_pixel.py data=glyphs shots=1

Takes the overrides of `metarun`. A trained learner should be far more accurate.
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
    """Return the label of the nearest support image for each query, (N·Q)."""
    distance = torch.cdist(task.query.x.flatten(1), task.support.x.flatten(1))
    return task.support.y[distance.argmin(-1)]


def report(
    overrides: list[str], method: str, predict: Callable[[Task], torch.Tensor] = nearest_item
) -> None:
    """Print the accuracy on the frozen test episodes with its confidence interval.

    Args:
        overrides: overrides of `metarun`.
        method: the name of the method.
        predict: returns the labels of the queries of a task, (N·Q).
    """
    parts = assemble(checked(compose(overrides)))
    sampler, config = parts.frozen("test"), parts.config
    episodes = config.test_episodes
    tasks = (task for i in range(episodes) for task in sampler.tasks([i]))
    scores = np.array([float((predict(t) == t.query.y).double().mean()) for t in tasks])
    print(
        f"{config.choices.data} {config.ways}-way {config.shots}-shot, "
        f"{method}: {ACCURACY.figure(interval(scores))} ({episodes} episodes)"
    )


if __name__ == "__main__":
    report(sys.argv[1:], "nearest pixels")
