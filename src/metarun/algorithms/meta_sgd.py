"""Meta-SGD: MAML with learned step sizes."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.maml import MAML
from metarun.tasks.task import Spec


class MetaSGD(MAML):
    """Learns initial weights θ and, for each of them, the step size α of the inner loop.

    Li, Zhou, Chen & Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
    equation 2 and algorithm 1: θ' = θ − α∘∇L(θ; support), where α has the shape of θ and both are
    trained on the query loss. A step size may become negative, so the update direction is learned
    too. All step sizes are initialised to `inner_lr`; the paper draws the initial value between
    0.005 and 0.1. The inner loss is the mean over the support. The published inner loop has one
    step.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of outputs of the linear head.
        inner_lr: initial value of all step sizes.
        inner_steps: inner steps in training, all with the same step sizes.
        test_inner_steps: inner steps in evaluation.
        first_order: leave out the second derivatives; the step sizes are still learned.
        batch_norm: statistics that normalise queries, in training and evaluation, as in MAML.
            `transductive`: those of the task's query batch; `inductive`: those of the support under
            the adapted weights. The support is always normalised by its own statistics.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        inner_lr: PositiveFloat = 0.4,
        inner_steps: NonNegativeInt = 1,
        test_inner_steps: NonNegativeInt = 1,
        first_order: bool = False,
        batch_norm: BatchNormKind = "transductive",
    ) -> None:
        super().__init__(
            backbone,
            spec,
            inner_lr=inner_lr,
            inner_steps=inner_steps,
            test_inner_steps=test_inner_steps,
            first_order=first_order,
            batch_norm=batch_norm,
        )
        self.lrs = nn.ParameterList(torch.full_like(p, inner_lr) for p in self.net.parameters())

    def step_sizes(self) -> Iterable[Tensor]:
        return self.lrs
