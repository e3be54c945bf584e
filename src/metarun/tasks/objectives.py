"""How a model is judged on a task: its loss, its scores, and which of them counts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from metarun.tasks.headline import ACCURACY, MSE, Headline

Loss = Callable[[Tensor, Tensor], Tensor]
Scores = Callable[[Tensor, Tensor], dict[str, Tensor]]


@dataclass(frozen=True)
class Objective:
    """Declared by the data, read by everything that trains, tests or reports.

    Attributes:
        name: for messages.
        headline: the score that learners are compared by.
        loss: outputs (items, …) and y (items, …) of one task → its mean loss, a scalar.
        scores: the same → other scores, scalars without a graph, by name.
        labels: y are labels of classes, and outputs are logits.
        differentiable: autograd gives the slope of the loss. A sampled return has none that finite
            differences would confirm.
    """

    name: str
    headline: Headline
    loss: Loss | None = None
    scores: Scores | None = None
    labels: bool = False
    differentiable: bool = True


def _accuracy(outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"accuracy": (outputs.argmax(-1) == y).to(outputs.dtype).mean()}


def _squared_error(outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"mse": F.mse_loss(outputs, y)}


CLASSIFICATION = Objective("classification", ACCURACY, F.cross_entropy, _accuracy, labels=True)
REGRESSION = Objective("regression", MSE, F.mse_loss, _squared_error)
