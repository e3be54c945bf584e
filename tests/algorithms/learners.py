"""The learners that must pass `test_every_learner.py`: all in `conf/algo`, and one's own."""

from __future__ import annotations

import torch

from metarun.algorithms import Algorithm, Task
from metarun.backbones.conv4 import Conv4
from metarun.build import blueprint
from metarun.config import choices, compose, plain
from tests.conftest import episodes

SHIPPED = sorted(choices("algo"))
STATISTICS = ("transductive", "inductive")


def build(name: str, batch_norm: str, folder: str | None = None) -> Algorithm:
    """The learner of that name for 3 ways in float64, after a first batch of training episodes."""
    typed = [f"algo={name}", f"algo.batch_norm={batch_norm}"]
    node = plain(compose(typed, folder))["algo"]
    torch.manual_seed(0)
    net = Conv4((1, 28, 28), filters=6, downsample="stride", readout="mean")
    learner = blueprint("algo", node)(net, Task(outputs=3, shots=2, classes=10)).double()
    learner.accumulate(episodes(dtype=torch.float64))  # so that running averages are not the first
    learner.zero_grad()
    return learner
