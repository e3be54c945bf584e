"""The inner loop, in one place for every learner that adapts by gradients."""

from __future__ import annotations

import gym_notices.notices
from torch import Tensor, nn

from metarun.scores import loss_of

gym_notices.notices.notices.clear()  # learn2learn imports gym, which would print its farewell
import learn2learn as l2l  # noqa: E402


def adapt(
    net: nn.Module, x: Tensor, y: Tensor, *, steps: int, lr: float, first_order: bool
) -> nn.Module:
    """A copy of `net` after `steps` gradient steps on the mean loss of one task's support.

    θ' ← θ' − lr·∇L(θ'; support), from θ' = θ (Finn et al. 2017, equation 1). The copy stays
    connected to `net`: the gradient of what it computes reaches θ. Every parameter adapts, the
    scale and shift of batch normalisation included.

    Args:
        x: (N·K, *shape) support of one task.
        y: (N·K) labels.
        first_order: treat the inner gradients as constants (Finn et al. 2017, section 5.2).
    """
    learner = l2l.algorithms.MAML(net, lr=lr, first_order=first_order).clone()
    for _ in range(steps):
        learner.adapt(loss_of(learner(x), y))
    return learner.module
