"""Model-agnostic meta-learning."""

from __future__ import annotations

from pydantic import NonNegativeInt, PositiveFloat
from torch import nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.gradient_learner import GradientLearner
from metarun.algorithms.inner_loop import Adapted, Normalised, Weights
from metarun.tasks.task import Evidence, Model, Spec


class MAML(GradientLearner):
    """Learns initial weights from which a few gradient steps on the support solve a new task.

    Finn, Abbeel & Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    algorithm 2. The inner loss is the mean over the N·K support items. The authors' code divides
    their sum by K, so its learning rates are N times smaller than the equivalent rates here.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of outputs of the linear head.
        inner_lr: step size α of the inner loop.
        inner_steps: inner steps in training.
        test_inner_steps: inner steps in evaluation.
        first_order: leave out the second derivatives.
        batch_norm: statistics that normalise queries, in training and evaluation. `transductive`:
            those of the task's query batch, as published; `inductive`: those of the support under
            the adapted weights (MetaBN, Bronskill et al. 2020). The support is always normalised by
            its own statistics. There are no running averages.
    """

    needs_labels = needs_examples = False

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        inner_lr: PositiveFloat = 0.4,
        inner_steps: NonNegativeInt = 1,
        test_inner_steps: NonNegativeInt = 3,
        first_order: bool = False,
        batch_norm: BatchNormKind = "transductive",
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, spec.outputs))
        self.inner_lr, self.first_order, self.batch_norm = inner_lr, first_order, batch_norm
        self.inner_steps, self.test_inner_steps = inner_steps, test_inner_steps

    def fast_weights(self, support: Evidence) -> Weights:
        return self.inner_loop(self.net, support, self.inner_lr)

    def model(self, weights: Weights, support: Evidence) -> Model:
        return Normalised(Adapted(self.net, weights), support, self.batch_norm)
