"""The inner loop by learn2learn's wrappers, the reference for the other engines."""

from __future__ import annotations

from collections.abc import Iterable

import gym_notices.notices
import torch
from torch import Tensor, nn

from metarun.tasks.task import Evidence

gym_notices.notices.notices.clear()  # silences gym, which learn2learn imports
import learn2learn as l2l  # noqa: E402


def clone_adapt(
    net: nn.Module,
    support: Evidence,
    *,
    steps: int,
    lr: float | Iterable[Tensor],
    first_order: bool,
) -> dict[str, Tensor]:
    """Return the weights of `net` after gradient steps, as `inner_loop.adapted` does."""
    with torch.enable_grad():
        if isinstance(lr, int | float):
            wrapper = l2l.algorithms.MAML(net, lr=lr, first_order=first_order)
        else:
            wrapper = l2l.algorithms.MetaSGD(net, lrs=lr, first_order=first_order)
        learner = wrapper.clone()
        for _ in range(steps):
            learner.adapt(support.loss(learner))
    return dict(learner.module.named_parameters())
