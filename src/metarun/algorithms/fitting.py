"""Ordinary training on all classes, and heads fitted over the frozen network afterwards."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner, laid_out
from metarun.errors import Refused
from metarun.tasks.task import Examples, Judged, Model, Spec, Task, joined


class FittedHead(MetricLearner):
    """A classifier of all meta-train classes, whose last layer is fitted anew to each support.

    Args:
        backbone: maps (B, *shape) to (B, features).
        fitting: keyword arguments of `fit`.
        batch_norm: see `MetricLearner`.
    """

    joint = True

    def __init__(
        self, backbone: nn.Module, fitting: dict[str, Any], batch_norm: BatchNormKind
    ) -> None:
        super().__init__(backbone, batch_norm)
        self.fitting = fitting

    @abstractmethod
    def classify(self, z: Tensor) -> Tensor:
        """Logits of all meta-train classes, (B, classes), for embedded items (B, D)."""

    @abstractmethod
    def fitted(self, z: Tensor, *weights: Tensor) -> Tensor:
        """Logits (T, items, N) of a head for each task, for embedded items (T, items, D)."""

    @abstractmethod
    def start(self, z: Tensor, ways: int) -> Sequence[Tensor]:
        """The weights, each (T, …), that the heads of supports (T, N·K, D) begin with."""

    def outer_losses(self, tasks: Sequence[Task]) -> Iterator[Judged]:
        """Ordinary cross-entropy over all meta-train classes.

        The items of all T tasks, support and query alike, are one batch with the labels that their
        classes have in the whole split. So a batch holds equally many items of each of T·N classes
        drawn by chance, where the authors draw each item by itself.
        """
        x = joined(*(joined(task.support.x, task.query.x) for task in tasks))
        y = [task.classes[torch.cat([task.support.y, task.query.y])] for task in tasks]
        outputs = self.classify(self.backbone(laid_out(x))).split([len(own) for own in y])
        for task, found, own in zip(tasks, outputs, y, strict=True):
            yield Examples(None, own, task.query.objective).judged(found)

    @torch.no_grad()
    def adapt_all(self, supports: Sequence[Examples]) -> list[Model]:
        """Heads of supports of one size are fitted side by side."""
        if len({(len(support), support.labels) for support in supports}) > 1:
            return [self.adapt(support) for support in supports]
        inputs = [support.x for support in supports]
        if self.statistics == "running":  # then it does not matter what is embedded together
            z = self.embed(joined(*inputs)).unflatten(0, (len(supports), -1))
        else:
            z = torch.stack([self.embed(x) for x in inputs])
        y = torch.stack([support.y for support in supports])
        weights = fit(self.fitted, self.start(z, supports[0].labels), z, y, **self.fitting)
        return [self._model([w[t : t + 1] for w in weights]) for t in range(len(supports))]

    def adapt(self, support: Examples) -> Model:
        return self.adapt_all([support])[0]

    def outer_loss(self, task: Task) -> Judged:
        return next(self.outer_losses([task]))

    def _model(self, weights: Sequence[Tensor]) -> Model:
        return lambda x: self.fitted(self.embed(x).unsqueeze(0), *weights)[0]


def classes_of(spec: Spec, name: str) -> int:
    """The number of meta-train classes.

    Raises:
        Refused: the tasks are not made of classes.
    """
    if not spec.classes:
        raise Refused(f"algo={name}: trains on all classes at once, and the data has none")
    return spec.classes


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
