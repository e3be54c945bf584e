"""ANIL (almost no inner loop): MAML that adapts the head only."""

from __future__ import annotations

from dataclasses import replace

from pydantic import NonNegativeInt, PositiveFloat
from torch import nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.gradient_learner import GradientLearner
from metarun.algorithms.inner_loop import Adapted, Normalised, Weights
from metarun.backbones.norm import normalised_by
from metarun.tasks.task import Examples, Model, Spec


class ANIL(GradientLearner):
    """Learns features and an initial head, and adapts only the head to a new task.

    Raghu, Raghu, Bengio & Vinyals 2020, "Rapid Learning or Feature Reuse? Towards Understanding the
    Effectiveness of MAML", section 4: the inner loop changes only the last layer, in training and
    evaluation. The outer gradient reaches the body through the features of the queries and, via the
    inner steps of the head, those of the support. The body does not change in the inner loop, so
    the features of a task are computed only once. The inner loss is the mean over the support.

    Args:
        backbone: the body; maps (B, *shape) to (B, features).
        spec: sets the number of outputs of the linear head.
        inner_lr: step size of the inner loop.
        inner_steps: inner steps in training.
        test_inner_steps: inner steps in evaluation.
        first_order: leave out the second derivatives; the body then learns only from the queries.
        batch_norm: statistics that normalise queries, in training and evaluation. `transductive`:
            those of the task's query batch, as published; `inductive`: those of the support, with
            the shared weights of the body. The support is always normalised by its own statistics.
    """

    needs_labels = False
    adapts_alike = True

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        inner_lr: PositiveFloat = 0.4,
        inner_steps: NonNegativeInt = 5,
        test_inner_steps: NonNegativeInt = 5,
        first_order: bool = False,
        batch_norm: BatchNormKind = "transductive",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, spec.outputs)
        self.inner_lr, self.first_order, self.batch_norm = inner_lr, first_order, batch_norm
        self.inner_steps, self.test_inner_steps = inner_steps, test_inner_steps

    def fast_weights(self, support: Examples) -> Weights:
        with normalised_by(self.backbone, "batch"):
            features = replace(support, x=self.backbone(support.x))
        return self.inner_loop(self.head, features, self.inner_lr)

    def model(self, weights: Weights, support: Examples) -> Model:
        head = Adapted(self.head, weights)
        body = Normalised(self.backbone, support, self)
        return lambda x: head(body(x))
