"""Print the accuracy of the nearest support centroid in raw features on the frozen test episodes.

    .venv/bin/python scripts/nearest_centroid.py data=clinc150 shots=5

Takes the overrides of `metarun`. A learner is useful only if its accuracy is higher.
"""

from __future__ import annotations

import sys

import torch
from nearest_pixel import report

from metarun.algorithms.protonet import prototypes
from metarun.tasks.task import Task


def nearest_centroid(task: Task) -> torch.Tensor:
    """Return the label of the class with the nearest mean support item for each query, (N·Q)."""
    centroids = prototypes(task.support.x.flatten(1), task.support.y, task.support.labels)
    return torch.cdist(task.query.x.flatten(1), centroids).argmin(-1)


if __name__ == "__main__":
    report(sys.argv[1:], "nearest centroid", nearest_centroid)
