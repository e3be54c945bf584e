"""The learners that must pass `test_every_learner.py`: all in `conf/algo`, and one's own."""

from __future__ import annotations

from pathlib import Path

import torch

from metarun.algorithms import Algorithm, Task
from metarun.build import blueprint
from metarun.config import compose, plain
from metarun.tree import choices
from tests.conftest import episodes

SHIPPED = sorted(choices("algo"))
STATISTICS = ("transductive", "inductive")


def build(name: str, batch_norm: str, folder: str | None = None) -> Algorithm:
    """The learner of that name for 3 ways in float64, after a first batch of training episodes.

    With the backbone that its YAML file chooses, made small.

    Args:
        folder: config folder of one's own, where the learner is not shipped.
    """
    typed = [f"algo={name}", f"algo.batch_norm={batch_norm}"]
    config, folders = plain(compose(typed, folder)), [Path(folder)] if folder else []
    small = {"filters": 6} if "filters" in config["backbone"] else {}
    torch.manual_seed(0)
    net = blueprint("backbone", {**config["backbone"], **small}, folders)((1, 28, 28))
    task = Task(outputs=3, shots=2, classes=10)
    learner = blueprint("algo", config["algo"], folders)(net, task).double()
    learner.accumulate(episodes(dtype=torch.float64))  # so that running averages are not the first
    learner.zero_grad()
    return learner
