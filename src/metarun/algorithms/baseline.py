"""Baseline: ordinary supervised training, then a new linear head for each task."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.classifier import classes_of
from metarun.algorithms.fitting import FittedHead, HeadFit
from metarun.tasks.task import Spec


class Baseline(FittedHead):
    """A classifier of all meta-train classes; a new last layer is fitted to each support.

    Chen et al. 2019, "A Closer Look at Few-shot Classification", section 3.2, Baseline. The network
    before the last layer is frozen after training. The new layer is initialised with zeros. See
    `fit` for the gradient steps and `Classifier.outer_losses` for the training batches.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of classes of the training head.
        head_fit: see `FittedHead`.
        head_steps: gradient steps of the new head, or passes over the support in mini-batches.
        head_lr, head_momentum, head_weight_decay: learning rate, momentum and weight decay of
            these steps.
        batch_norm: `inductive`: running averages in evaluation, as published; `transductive`: the
            queries by the statistics of the query batch, the support by its own.

    Raises:
        Refused: if the data has no classes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        head_fit: HeadFit = "full_batch",
        head_steps: PositiveInt = 100,
        head_lr: PositiveFloat = 0.1,
        head_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        head_weight_decay: NonNegativeFloat = 1e-3,
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        fitting = {
            "steps": head_steps,
            "lr": head_lr,
            "momentum": head_momentum,
            "weight_decay": head_weight_decay,
        }
        super().__init__(backbone, fitting, batch_norm, head_fit)
        self.head = nn.Linear(backbone.features, classes_of(spec, "baseline"))

    def classify(self, z: Tensor) -> Tensor:
        return self.head(z)

    def fitted(self, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Linear head with weights (T, N, D) and biases (T, 1, N)."""
        return z @ weight.mT + bias

    def start(self, z: Tensor, ways: int) -> tuple[Tensor, Tensor]:
        tasks, _, features = z.shape
        return z.new_zeros(tasks, ways, features), z.new_zeros(tasks, 1, ways)

    def random_start(self, layer: nn.Linear) -> tuple[Tensor, Tensor]:
        return layer.weight[None], layer.bias[None, None]
