"""The inner loop, in one place for every learner that adapts by gradients."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gym_notices.notices
import torch
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind, Learner
from metarun.backbones.norm import BatchNorm, normalised_by
from metarun.tasks.task import Evidence, Inputs, joined

gym_notices.notices.notices.clear()  # learn2learn imports gym, which would print its farewell
import learn2learn as l2l  # noqa: E402


def adapted(
    net: nn.Module,
    support: Evidence,
    *,
    steps: int,
    lr: float | Iterable[Tensor],
    first_order: bool,
) -> nn.Module:
    """A copy of `net` after `steps` gradient steps on the mean loss of one task's support.

    θ' ← θ' − lr·∇L(θ'; support), from θ' = θ (Finn et al. 2017, equation 1). The copy stays
    connected to `net`: the gradient of what it computes reaches θ. Every parameter adapts, the
    scale and shift of batch normalisation included. It works under `torch.no_grad()` too.

    Args:
        lr: one step size, or a tensor of step sizes for each parameter, of its shape and in the
            order of `net.parameters()` (Li et al. 2017, equation 2); the gradient reaches them.
        first_order: treat the inner gradients as constants (Finn et al. 2017, section 5.2).
    """
    with torch.enable_grad(), normalised_by(net, "batch"):
        if isinstance(lr, int | float):
            wrapper = l2l.algorithms.MAML(net, lr=lr, first_order=first_order)
        else:
            wrapper = l2l.algorithms.MetaSGD(net, lrs=lr, first_order=first_order)
        learner = wrapper.clone()
        for _ in range(steps):
            learner.adapt(support.loss(learner))
    return learner.module


def steps_of(learner: Learner) -> dict[str, Any]:
    """How many inner steps a learner takes now, and of which order.

    Nothing is differentiated through the steps of evaluation, so they are of first order.
    """
    return {
        "steps": learner.inner_steps if learner.training else learner.test_inner_steps,
        "first_order": learner.first_order or not learner.training,
    }


class Normalised:
    """A network with the statistics that its batch normalisation takes.

    Args:
        support: of the task that it is for.
        batch_norm: `transductive`: what is asked together is normalised by itself; `inductive`: by
            the support, with the network's own weights (MetaBN, Bronskill et al. 2020).
    """

    def __init__(self, net: nn.Module, support: Evidence, batch_norm: BatchNormKind) -> None:
        self.net, self.support = net, support
        layers = any(isinstance(module, BatchNorm) for module in net.modules())
        self.by_support = layers and batch_norm == "inductive"

    def __call__(self, x: Inputs) -> Tensor:
        """Outputs (items, …) for inputs (items, *shape)."""
        if not self.by_support:
            with normalised_by(self.net, "batch"):
                return self.net(x)
        items = len(self.support)
        with normalised_by(self.net, items):
            return self.net(joined(self.support.x, x))[items:]
