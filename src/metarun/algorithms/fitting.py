"""Ordinary training on all classes, and heads fitted over the frozen network afterwards."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import Task
from metarun.algorithms.embedding import laid_out
from metarun.errors import Refused
from metarun.tasks.objectives import loss_of, score
from metarun.tasks.sampler import Episodes


def classes_of(task: Task, name: str) -> int:
    """The number of meta-train classes.

    Raises:
        Refused: the tasks are not made of classes.
    """
    if not task.classes:
        raise Refused(f"algo={name}: trains on all classes at once, and the data has none")
    return task.classes


def train_on_all_classes(
    backbone: nn.Module, head: Callable[[Tensor], Tensor], episodes: Episodes
) -> dict[str, Tensor]:
    """Add the gradient of ordinary cross-entropy over all meta-train classes to `.grad`.

    The items of all T tasks, support and query alike, are one batch with the labels that their
    classes have in the whole split. So a batch holds equally many items of each of T·N classes
    drawn by chance, where the authors draw each item by itself.

    Returns:
        The scores of each task among all classes, each (T).
    """
    backbone.train()
    x = laid_out(torch.cat([episodes.support_x, episodes.query_x], 1).flatten(0, 1))
    y = episodes.classes.gather(1, torch.cat([episodes.support_y, episodes.query_y], 1))
    outputs = head(backbone(x))
    loss_of(outputs, y.flatten()).backward()
    return score(outputs.unflatten(0, y.shape), y)


def fit(
    head: Callable[..., Tensor],
    start: Sequence[Tensor],
    z: Tensor,
    y: Tensor,
    *,
    steps: int,
    lr: float,
    momentum: float,
    weight_decay: float,
) -> list[Tensor]:
    """Weights of a head for each of T tasks, fitted to their supports by gradient descent.

    Chen et al. 2019, section 3.2: stochastic gradient descent with momentum (dampened by the same
    factor) and weight decay on the cross-entropy. They take batches of 4 items; here each step
    sees the whole support, so that the result depends neither on chance nor on its order. The
    loss is a sum over tasks, so each is fitted as if it were alone.

    Args:
        head: (z, *weights) → logits (T, items, N).
        start: initial weights, each (T, …).
        z: (T, N·K, D) embedded support.
        y: (T, N·K) labels.
    """
    weights = [w.detach().clone().requires_grad_() for w in start]
    optimizer = torch.optim.SGD(
        weights, lr=lr, momentum=momentum, dampening=momentum, weight_decay=weight_decay
    )
    with torch.enable_grad():
        for _ in range(steps):
            optimizer.zero_grad()
            loss = F.cross_entropy(head(z, *weights).transpose(1, 2), y, reduction="none")
            loss.mean(1).sum().backward()
            optimizer.step()
    return [w.detach() for w in weights]
