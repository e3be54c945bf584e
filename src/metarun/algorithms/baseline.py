"""The baseline: ordinary training, then a new linear head."""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import Algorithm, Task
from metarun.algorithms.embedding import for_evaluation
from metarun.algorithms.fitting import classes_of, fit, train_on_all_classes
from metarun.tasks.sampler import Episodes


def linear(z: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Logits (T, items, N) of a head for each task.

    Args:
        z: (T, items, D).
        weight: (T, N, D).
        bias: (T, 1, N).
    """
    return z @ weight.mT + bias


class Baseline(Algorithm):
    """A classifier of all meta-train classes, whose last layer is fitted anew to the support.

    Chen et al. 2019, "A Closer Look at Few-shot Classification", section 3.2, Baseline. The network
    before the last layer is frozen after training. The new layer starts from zero, where the
    authors draw it by chance, so that no label and no task is unlike the others; see `fit` for the
    steps and `train_on_all_classes` for the batches.

    Args:
        backbone: maps (B, *shape) to (B, features).
        task: its classes are those of the training head.
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
        head_steps: PositiveInt = 100,
        head_lr: PositiveFloat = 0.1,
        head_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9,
        head_weight_decay: NonNegativeFloat = 1e-3,
        batch_norm: Literal["transductive", "inductive"] = "inductive",
    ) -> None:
        super().__init__()
        self.backbone, self.batch_norm = backbone, batch_norm
        self.head = nn.Linear(backbone.features, classes_of(task, "baseline"))
        self.fitting = {
            "steps": head_steps,
            "lr": head_lr,
            "momentum": head_momentum,
            "weight_decay": head_weight_decay,
        }

    def accumulate(self, episodes: Episodes) -> dict[str, Tensor]:
        return train_on_all_classes(self.backbone, self.head, episodes)

    @torch.no_grad()
    def predict(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        z, queries = for_evaluation(self.backbone, support_x, query_x, self.batch_norm)
        tasks, _, features = z.shape
        ways = int(support_y.max()) + 1
        start = z.new_zeros(tasks, ways, features), z.new_zeros(tasks, 1, ways)
        weights = fit(linear, start, z, support_y, **self.fitting)
        return linear(queries, *weights)
