"""Model-agnostic meta-learning."""

from __future__ import annotations

from functools import partial
from typing import Literal

from pydantic import NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import Algorithm, Task
from metarun.algorithms.inner_loop import accumulate_each, adapt, predict_each, query_outputs
from metarun.backbones.norm import normalised_by
from metarun.tasks.sampler import Episodes


class MAML(Algorithm):
    """Learns initial weights from which a few gradient steps on the support solve a new task.

    Finn, Abbeel & Levine 2017, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks",
    algorithm 2. The inner loss is the mean over the N·K support items: the authors' code divides
    their sum by K, so its learning rates are N times smaller than the equivalent one here.

    Args:
        backbone: maps (B, *shape) to (B, features).
        task: its outputs are those of the linear head.
        inner_lr: step size α of the inner loop.
        inner_steps: inner steps in training.
        test_inner_steps: inner steps in evaluation.
        first_order: leave out the second derivatives.
        batch_norm: how queries are normalised, in training and evaluation. `transductive`: by the
            statistics of the task's query batch, as published; `inductive`: by those of the support
            under the adapted weights (MetaBN, Bronskill et al. 2020). The support is always
            normalised by itself, and running averages are not used.
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
        test_inner_steps: NonNegativeInt = 3,
        first_order: bool = False,
        batch_norm: Literal["transductive", "inductive"] = "transductive",
    ) -> None:
        super().__init__()
        self.net = nn.Sequential(backbone, nn.Linear(backbone.features, task.outputs))
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
        """Logits (N·Q, N) of one task's queries after its inner loop."""
        with normalised_by(self.net, "batch"):
            adapted = adapt(
                self.net, sx, sy, steps=steps, lr=self.inner_lr, first_order=first_order
            )
        return query_outputs(adapted, sx, qx, self.batch_norm)
