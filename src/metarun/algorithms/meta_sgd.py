"""MAML with learned step sizes."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import Algorithm, Task
from metarun.algorithms.inner_loop import accumulate_each, adapt, predict_each, query_outputs
from metarun.backbones.norm import normalised_by
from metarun.tasks.sampler import Episodes


class MetaSGD(Algorithm):
    """Learns initial weights θ and, for each of them, the step size α of the inner loop.

    Li, Zhou, Chen & Li 2017, "Meta-SGD: Learning to Learn Quickly for Few-Shot Learning",
    equation 2 and algorithm 1: θ' = θ − α∘∇L(θ; support), with α of θ's shape and both trained on
    the query loss. A step size may become negative: the direction is learned with it. All start
    at `inner_lr`; the paper draws a start between 0.005 and 0.1. The inner loss is the mean over
    the support. The published inner loop is a single step.

    Args:
        backbone: maps (B, *shape) to (B, features).
        task: its outputs are those of the linear head.
        inner_lr: initial value of every step size.
        inner_steps: inner steps in training, all with the same step sizes.
        test_inner_steps: inner steps in evaluation.
        first_order: leave out the second derivatives; the step sizes still learn.
        batch_norm: how queries are normalised, in training and evaluation, as in MAML:
            `transductive`: by the task's query batch; `inductive`: by the support under the adapted
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
        inner_steps: NonNegativeInt = 1,
        test_inner_steps: NonNegativeInt = 1,
        first_order: bool = False,
        batch_norm: Literal["transductive", "inductive"] = "transductive",
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, task.outputs))
        self.lrs = nn.ParameterList(torch.full_like(p, inner_lr) for p in self.net.parameters())
        self.first_order, self.batch_norm = first_order, batch_norm
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
        """Logits (N·Q, N) of one task's queries after its inner loop."""
        with normalised_by(self.net, "batch"):
            adapted = adapt(self.net, sx, sy, steps=steps, lr=self.lrs, first_order=first_order)
        return query_outputs(adapted, sx, qx, self.batch_norm)
