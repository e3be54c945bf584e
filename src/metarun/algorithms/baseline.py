"""The baseline: ordinary training, then a new linear head."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.fitting import FittedHead, classes_of
from metarun.tasks.task import Spec


class Baseline(FittedHead):
    """A classifier of all meta-train classes, whose last layer is fitted anew to the support.

    Chen et al. 2019, "A Closer Look at Few-shot Classification", section 3.2, Baseline. The network
    before the last layer is frozen after training. The new layer starts from zero, where the
    authors draw it by chance, so that no label and no task is unlike the others; see `fit` for the
    steps and `FittedHead.outer_losses` for the batches.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: its classes are those of the training head.
        head_steps: gradient steps of the new head, each on the whole support.
        head_lr, head_momentum, head_weight_decay: their rate, momentum and weight decay. The
            authors' rate is 0.01, for the 2 to 7 batches of 4 items that make up a support of 5
            ways with 1 or 5 shots.
        batch_norm: `inductive`: running averages in evaluation, as published; `transductive`: the
            statistics of the query batch, and of the support for the support.

    Raises:
        Refused: the data has no classes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
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
        super().__init__(backbone, fitting, batch_norm)
        self.head = nn.Linear(backbone.features, classes_of(spec, "baseline"))

    def classify(self, z: Tensor) -> Tensor:
        return self.head(z)

    def fitted(self, z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        """Linear, by weights (T, N, D) and biases (T, 1, N)."""
        return z @ weight.mT + bias

    def start(self, z: Tensor, ways: int) -> tuple[Tensor, Tensor]:
        tasks, _, features = z.shape
        return z.new_zeros(tasks, ways, features), z.new_zeros(tasks, 1, ways)
