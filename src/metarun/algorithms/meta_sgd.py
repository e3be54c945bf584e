"""Meta-SGD: MAML with learned step sizes."""

from __future__ import annotations

import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.gradient_learner import GradientLearner
from metarun.algorithms.inner_loop import Adapted, Normalised, Weights
from metarun.tasks.task import Evidence, Model, Spec


class MetaSGD(GradientLearner):
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

    needs_labels = needs_examples = False

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
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, spec.outputs))
        self.lrs = nn.ParameterList(torch.full_like(p, inner_lr) for p in self.net.parameters())
        self.first_order, self.batch_norm = first_order, batch_norm
        self.inner_steps, self.test_inner_steps = inner_steps, test_inner_steps

    def fast_weights(self, support: Evidence) -> Weights:
        return self.inner_loop(self.net, support, self.lrs)

    def model(self, weights: Weights, support: Evidence) -> Model:
        return Normalised(Adapted(self.net, weights), support, self.batch_norm)
