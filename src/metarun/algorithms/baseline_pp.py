"""Baseline++: ordinary training, then a new head, both by cosine similarity."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Literal

import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import Algorithm, Task
from metarun.algorithms.embedding import for_evaluation
from metarun.algorithms.fitting import classes_of, fit, train_on_all_classes
from metarun.tasks.sampler import Episodes


def cosine(z: Tensor, weight: Tensor, scale: float) -> Tensor:
    """Logits scale·cos(w, z), (…, items, N).

    Args:
        z: (…, items, D).
        weight: (…, N, D).
    """
    return scale * F.normalize(z, dim=-1) @ F.normalize(weight, dim=-1).mT


class BaselinePP(Algorithm):
    """A classifier by cosine similarity to a learned vector for each class, fitted anew in test.

    Chen et al. 2019, "A Closer Look at Few-shot Classification", section 3.3, Baseline++. The
    network before the last layer is frozen after training. Vectors have no lengths, as in the
    paper's equation for s; the authors' code learns a length for each class. The new vectors of a
    task all start as the mean direction of its support, where the authors draw them by chance, so
    that no label and no task is unlike the others; see `fit` for the steps and
    `train_on_all_classes` for the batches.

    Args:
        backbone: maps (B, *shape) to (B, features).
        task: its classes are those of the training head.
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
        task: Task,
        *,
        scale: PositiveFloat = 15.0,
        head_scale: PositiveFloat = 2.0,
        head_steps: PositiveInt = 100,
        head_lr: PositiveFloat = 0.1,
        head_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        head_weight_decay: NonNegativeFloat = 1e-3,
        batch_norm: Literal["transductive", "inductive"] = "inductive",
    ) -> None:
        super().__init__()
        self.backbone, self.batch_norm = backbone, batch_norm
        classes = classes_of(task, "baseline_pp")
        self.weight = nn.Parameter(F.normalize(torch.randn(classes, backbone.features), dim=-1))
        self.scale, self.head_scale = scale, head_scale
        self.fitting = {
            "steps": head_steps,
            "lr": head_lr,
            "momentum": head_momentum,
            "weight_decay": head_weight_decay,
        }

    def accumulate(self, episodes: Episodes) -> dict[str, Tensor]:
        head = partial(cosine, weight=self.weight, scale=self.scale)
        return train_on_all_classes(self.backbone, head, episodes)

    @torch.no_grad()
    def predict(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        z, queries = for_evaluation(self.backbone, support_x, query_x, self.batch_norm)
        middle = F.normalize(F.normalize(z, dim=-1).mean(1, keepdim=True), dim=-1)  # (T, 1, D)
        start = middle.expand(-1, int(support_y.max()) + 1, -1)
        head = partial(cosine, scale=self.head_scale)
        (weight,) = fit(head, [start], z, support_y, **self.fitting)
        return head(queries, weight)
