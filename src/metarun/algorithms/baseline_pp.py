"""Baseline++: supervised training, then a new head for each task, with cosine similarity."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.fitting import FittedHead, classes_of
from metarun.tasks.task import Spec


def cosine(z: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Logits scale·cos(z, w), of shape (…, items, N).

    Args:
        z: (…, items, D).
        weight: (…, N, D).
    """
    return scale * F.normalize(z, dim=-1) @ F.normalize(weight, dim=-1).mT


class BaselinePP(FittedHead):
    """A cosine-similarity classifier; new class vectors are fitted to each support.

    Chen et al. 2019, "A Closer Look at Few-shot Classification", section 3.3, Baseline++. The
    network before the last layer is frozen after training. The length of a class vector has no
    effect, as in the paper's equation for s; the authors' code learns a length for each class. All
    new vectors of a task are initialised with the mean direction of its support (the authors: at
    random), so that all labels start equal. See `fit` for the gradient steps and
    `FittedHead.outer_losses` for the training batches.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of classes of the training head.
        scale: factor of the cosine in training. The authors' code uses 10 for Omniglot; 15 fits
            better in a few minutes of training.
        head_scale: factor of the cosine in the new head; 2 in the authors' code.
        head_steps: gradient steps of the new head, each on the whole support.
        head_lr, head_momentum, head_weight_decay: learning rate, momentum and weight decay of
            these steps. The authors use a rate of 0.01 with mini-batches of 4 items, which are 2
            to 7 per pass over a support of 5 ways with 1 or 5 shots.
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
        scale: PositiveFloat = 15.0,
        head_scale: PositiveFloat = 2.0,
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
        classes = classes_of(spec, "baseline_pp")
        self.weight = nn.Parameter(F.normalize(torch.randn(classes, backbone.features), dim=-1))
        self.scale, self.head_scale = scale, head_scale

    def classify(self, z: Tensor) -> Tensor:
        return cosine(z, self.weight, self.scale)

    def fitted(self, z: Tensor, weight: Tensor) -> Tensor:
        """Cosine head with class vectors (T, N, D)."""
        return cosine(z, weight, self.head_scale)

    def start(self, z: Tensor, ways: int) -> tuple[Tensor]:
        mean = F.normalize(F.normalize(z, dim=-1).mean(1, keepdim=True), dim=-1)  # (T, 1, D)
        return (mean.expand(-1, ways, -1),)
