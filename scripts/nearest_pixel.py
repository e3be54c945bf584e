"""Accuracy of the nearest support picture, by raw pixels, on the frozen test episodes.

    .venv/bin/python scripts/nearest_pixel.py data=glyphs shots=1

Takes the keys of `metarun`. A trained learner has to be far above this figure.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import torch

from metarun.config.compose import checked, compose
from metarun.tasks.headline import ACCURACY
from metarun.tasks.sampler import Episodes
from metarun.training.evaluation import interval
from metarun.training.parts import assemble


def accuracy(episodes: Episodes) -> torch.Tensor:
    """(T) share of queries whose nearest support picture has their label."""
    distance = torch.cdist(episodes.query_x.flatten(2), episodes.support_x.flatten(2))
    labels = episodes.support_y.gather(1, distance.argmin(-1))
    return (labels == episodes.query_y).double().mean(1)


def report(
    typed: list[str], what: str, accuracy: Callable[[Episodes], torch.Tensor] = accuracy
) -> None:
    """Print the accuracy on the frozen test episodes, with its interval.

    Args:
        typed: keys of `metarun`.
        what: the name of the method.
    """
    parts = assemble(checked(compose(typed)))
    sampler, config = parts.frozen("test"), parts.config
    number = config.test_episodes
    scores = torch.cat([accuracy(sampler.batch([i])) for i in range(number)]).numpy()
    print(
        f"{config.choices.data} {config.ways}-way {config.shots}-shot, "
        f"{what}: {ACCURACY.figure(interval(scores))} ({number} episodes)"
    )


if __name__ == "__main__":
    report(sys.argv[1:], "nearest pixels")
