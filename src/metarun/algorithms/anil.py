"""Almost no inner loop: MAML whose head alone adapts."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import Algorithm, Task
from metarun.algorithms.inner_loop import accumulate_each, adapt, predict_each
from metarun.backbones.norm import normalised_by
from metarun.tasks.sampler import Episodes


class ANIL(Algorithm):
    """Learns features and an initial head, and adapts the head alone to a new task.

    Raghu, Raghu, Bengio & Vinyals 2020, "Rapid Learning or Feature Reuse? Towards Understanding the
    Effectiveness of MAML", section 4: the inner loop changes the last layer only, in
    training and in evaluation. The outer gradient reaches the body by the queries' features and,
    through the head's inner steps, by the support's. Since the body rests, the features of a task
    are computed once, however many the inner steps. The inner loss is the mean over the support.

    Args:
        backbone: the body, maps (B, *shape) to (B, features).
        task: its outputs are those of the linear head.
        inner_lr: step size of the inner loop.
        inner_steps: inner steps in training.
        test_inner_steps: inner steps in evaluation.
        first_order: leave out the second derivatives; the body then learns from the queries alone.
        batch_norm: how queries are normalised, in training and evaluation. `transductive`: by the
            task's query batch, as published; `inductive`: by the support, with the body's shared
            weights. The support is always normalised by itself.
    """

    per_label_head = True
    regresses = True

    def __init__(
        self,
        backbone: nn.Module,
        task: Task,
        *,
        inner_lr: PositiveFloat = 0.4,
        inner_steps: NonNegativeInt = 5,
        test_inner_steps: NonNegativeInt = 5,
        first_order: bool = False,
        batch_norm: Literal["transductive", "inductive"] = "transductive",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(backbone.features, task.outputs)
        self.inner_lr, self.first_order, self.batch_norm = inner_lr, first_order, batch_norm
        self.inner_steps, self.test_inner_steps = inner_steps, test_inner_steps

    def accumulate(self, episodes: Episodes) -> dict[str, Tensor]:
        options = {"steps": self.inner_steps, "first_order": self.first_order}
        return accumulate_each(partial(self._outputs, **options), episodes)

    def predict(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        options = {"steps": self.test_inner_steps, "first_order": True}
        return predict_each(partial(self._outputs, **options), support_x, support_y, query_x)

    def _outputs(
        self, sx: Tensor, sy: Tensor, qx: Tensor, *, steps: int, first_order: bool
    ) -> Tensor:
        """Logits (N·Q, N) of one task's queries after the head's inner loop."""
        support, query = self._features(sx, qx)
        head = adapt(self.head, support, sy, steps=steps, lr=self.inner_lr, first_order=first_order)
        return head(query)

    def _features(self, sx: Tensor, qx: Tensor) -> tuple[Tensor, Tensor]:
        """Features (N·K, features) of the support and (N·Q, features) of the queries."""
        if self.batch_norm == "transductive":
            with normalised_by(self.backbone, "batch"):
                return self.backbone(sx), self.backbone(qx)
        with normalised_by(self.backbone, len(sx)):
            z = self.backbone(torch.cat([sx, qx]))
        return z[: len(sx)], z[len(sx) :]
