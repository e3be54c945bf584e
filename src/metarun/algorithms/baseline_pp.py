"""Baseline++: ordinary training, then a new head, both by cosine similarity."""

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
    """Logits scale·cos(w, z), (…, items, N).

    Args:
        z: (…, items, D).
        weight: (…, N, D).
    """
    return scale * F.normalize(z, dim=-1) @ F.normalize(weight, dim=-1).mT


class BaselinePP(FittedHead):
    """A classifier by cosine similarity to a learned vector for each class, fitted anew in test.

    Chen et al. 2019, "A Closer Look at Few-shot Classification", section 3.3, Baseline++. The
    network before the last layer is frozen after training. Vectors have no lengths, as in the
    paper's equation for s; the authors' code learns a length for each class. The new vectors of a
    task all start as the mean direction of its support, where the authors draw them by chance, so
    that no label and no task is unlike the others; see `fit` for the steps and
    `FittedHead.outer_losses` for the batches.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: its classes are those of the training head.
        scale: multiplies the cosine in training; the authors' code has 10 for Omniglot, whose
            classes a few minutes of training fit better with 15.
        head_scale: multiplies the cosine of the new head; the authors' code has 2.
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
        """By the cosine to vectors (T, N, D)."""
        return cosine(z, weight, self.head_scale)

    def start(self, z: Tensor, ways: int) -> tuple[Tensor]:
        middle = F.normalize(F.normalize(z, dim=-1).mean(1, keepdim=True), dim=-1)  # (T, 1, D)
        return (middle.expand(-1, ways, -1),)
