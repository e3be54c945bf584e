"""Accuracy of the nearest class mean of the support, by raw features, on the frozen test episodes.

    .venv/bin/python scripts/nearest_centroid.py data=clinc150 shots=5

Takes the keys of `metarun`. What a learner adds is what it has above this figure.
"""

from __future__ import annotations

import sys

import torch

from metarun.config import compose, plain
from metarun.episodes import Episodes
from metarun.evaluation import interval
from metarun.parts import assemble
from metarun.results import percent


def accuracy(episodes: Episodes) -> torch.Tensor:
    """(T) share of queries that are nearest to the mean support item of their class."""
    support = episodes.support_x.flatten(2).unflatten(1, (episodes.ways, -1))
    distance = torch.cdist(episodes.query_x.flatten(2), support.mean(2))
    return (distance.argmin(-1) == episodes.query_y).double().mean(1)


def main(typed: list[str]) -> None:
    parts = assemble(plain(compose(typed)))
    sampler, config = parts.frozen("test"), parts.config
    number = config["test_episodes"]
    scores = torch.cat([accuracy(sampler.batch([i])) for i in range(number)]).numpy()
    print(
        f"{config['choices']['data']} {config['ways']}-way {config['shots']}-shot, "
        f"nearest centroid: {percent(interval(scores))} ({number} episodes)"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
