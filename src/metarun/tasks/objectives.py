"""Objectives: the loss and the scores of a task."""

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
    """Loss and scores of a kind of task; each data set declares one.

    Attributes:
        name: name for messages.
        headline: the score by which learners are compared.
        loss: maps outputs (items, …) and y (items, …) of one task to the mean loss, a scalar.
        scores: maps the same arguments to further scores by name, scalars without a graph.
        labels: y contains class labels and outputs are logits.
        differentiable: autograd and finite differences of the loss agree, which is not the case
            for a sampled return.
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
