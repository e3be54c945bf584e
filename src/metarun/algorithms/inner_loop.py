"""The inner loop of gradient-based learners."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import gym_notices.notices
import torch
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind, Learner
from metarun.backbones.norm import BatchNorm, normalised_by
from metarun.tasks.task import Evidence, Inputs, joined

gym_notices.notices.notices.clear()  # silences gym, which learn2learn imports
import learn2learn as l2l  # noqa: E402


def adapted(
    net: nn.Module,
    support: Evidence,
    *,
    steps: int,
    lr: float | Iterable[Tensor],
    first_order: bool,
) -> nn.Module:
    """Return a copy of `net` after gradient steps on the mean loss of one task's support.

    θ' ← θ' − lr·∇L(θ'; support), starting from θ' = θ (Finn et al. 2017, equation 1). The copy is
    part of the graph of `net`, so its outputs can be differentiated with respect to θ. All
    parameters adapt, including the scale and shift of batch normalisation. The function also works
    under `torch.no_grad()`.

    Args:
        steps: number of gradient steps.
        lr: one step size, or one tensor of step sizes per parameter, of the parameter's shape and
            in the order of `net.parameters()` (Li et al. 2017, equation 2). The outputs can be
            differentiated with respect to these tensors.
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
    """Return the arguments `steps` and `first_order` of `adapted` for the learner's current mode.

    Evaluation is always first-order: nothing is differentiated through its inner steps.
    """
    return {
        "steps": learner.inner_steps if learner.training else learner.test_inner_steps,
        "first_order": learner.first_order or not learner.training,
    }


class Normalised:
    """A network together with the batch-norm statistics for its queries.

    Args:
        net: the network, usually adapted to the task.
        support: support of the task.
        batch_norm: `transductive`: a batch is normalised by its own statistics; `inductive`: by
            those of the support under the weights of `net` (MetaBN, Bronskill et al. 2020).
    """

    def __init__(self, net: nn.Module, support: Evidence, batch_norm: BatchNormKind) -> None:
        self.net, self.support = net, support
        has_batch_norm = any(isinstance(module, BatchNorm) for module in net.modules())
        self.by_support = has_batch_norm and batch_norm == "inductive"

    def __call__(self, x: Inputs) -> Tensor:
        """Outputs (items, …) for inputs (items, *shape)."""
        if not self.by_support:
            with normalised_by(self.net, "batch"):
                return self.net(x)
        items = len(self.support)
        with normalised_by(self.net, items):
            return self.net(joined(self.support.x, x))[items:]
