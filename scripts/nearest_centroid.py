"""Accuracy of the nearest class mean of the support, by raw features, on the frozen test episodes.

    .venv/bin/python scripts/nearest_centroid.py data=clinc150 shots=5

Takes the keys of `metarun`. What a learner adds is what it has above this figure.
"""

from __future__ import annotations

import sys

import torch
from nearest_pixel import report

from metarun.tasks.sampler import Episodes


def accuracy(episodes: Episodes) -> torch.Tensor:
    """(T) share of queries that are nearest to the mean support item of their class."""
    support = episodes.support_x.flatten(2).unflatten(1, (episodes.ways, -1))
    distance = torch.cdist(episodes.query_x.flatten(2), support.mean(2))
    return (distance.argmin(-1) == episodes.query_y).double().mean(1)


if __name__ == "__main__":
    report(sys.argv[1:], "nearest centroid", accuracy)
