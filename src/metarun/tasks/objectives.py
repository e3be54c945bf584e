"""How outputs are judged: cross-entropy and accuracy, or the squared error of numbers."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def loss_of(outputs: Tensor, y: Tensor) -> Tensor:
    """Mean loss over the items of one task, a scalar.

    Cross-entropy where `y` holds labels, mean squared error where it holds numbers.

    Args:
        outputs: (items, N) logits, or (items, *target) predictions.
        y: (items) labels, or (items, *target) targets.
    """
    return F.mse_loss(outputs, y) if y.is_floating_point() else F.cross_entropy(outputs, y)


def score(outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Scores of each of T tasks, each (T): `loss` with `accuracy`, or with `mse` for regression.

    Args:
        outputs: (T, items, N) logits, or (T, items, *target) predictions.
        y: (T, items) labels, or (T, items, *target) targets.
    """
    outputs = outputs.detach()
    if y.is_floating_point():
        mse = (outputs - y).square().flatten(1).mean(1)
        return {"loss": mse, "mse": mse}
    losses = F.cross_entropy(outputs.transpose(1, 2), y, reduction="none").mean(1)
    return {"loss": losses, "accuracy": (outputs.argmax(-1) == y).to(outputs.dtype).mean(1)}
