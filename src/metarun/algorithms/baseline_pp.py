"""Baseline++: supervised training, then a new head for each task, with cosine similarity."""

from __future__ import annotations

from typing import Annotated

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.classifier import classes_of
from metarun.algorithms.fitting import FittedHead, HeadFit
from metarun.tasks.task import Spec

LENGTH = 3**-0.5  # expected length of a row of `nn.Linear`'s initial weights


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
    network before the last layer is frozen after training. All new vectors of a task are
    initialised with the mean direction of its support. See `fit` for the gradient steps and
    `Classifier.outer_losses` for the training batches.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of classes of the training head.
        scale: factor of the cosine in training. The authors' code uses 10 for Omniglot; 15 fits
            better in a few minutes of training.
        head_scale: factor of the cosine in the new head; 2 in the authors' code.
        lengths: learn a length of each class vector, a further factor of its cosine, in training
            and in the new head, as the authors' code does (weight normalisation). Without, the
            length has no effect, as in the paper's equation for s.
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
        scale: PositiveFloat = 15.0,
        head_scale: PositiveFloat = 2.0,
        lengths: bool = False,
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
        classes = classes_of(spec, "baseline_pp")
        self.weight = nn.Parameter(F.normalize(torch.randn(classes, backbone.features), dim=-1))
        self.lengths = nn.Parameter(torch.full((1, classes), LENGTH)) if lengths else None
        self.scale, self.head_scale = scale, head_scale

    def classify(self, z: Tensor) -> Tensor:
        logits = cosine(z, self.weight, self.scale)
        return logits if self.lengths is None else logits * self.lengths

    def fitted(self, z: Tensor, weight: Tensor, lengths: Tensor | float = 1.0) -> Tensor:
        """Cosine head with class vectors (T, N, D) and lengths (T, 1, N)."""
        return cosine(z, weight, self.head_scale) * lengths

    def start(self, z: Tensor, ways: int) -> tuple[Tensor, ...]:
        mean = F.normalize(F.normalize(z, dim=-1).mean(1, keepdim=True), dim=-1)  # (T, 1, D)
        vectors = mean.expand(-1, ways, -1)
        lengths = z.new_full((len(z), 1, ways), LENGTH)
        return (vectors,) if self.lengths is None else (vectors, lengths)

    def random_start(self, layer: nn.Linear) -> tuple[Tensor, ...]:
        vectors = layer.weight[None]
        return (vectors,) if self.lengths is None else (vectors, vectors.norm(dim=2)[:, None])
