"""Heads that are fitted to the features of each support (Chen et al. 2019)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.classifier import Classifier
from metarun.tasks.task import Examples, Model, joined

HeadFit = Literal["full_batch", "mini_batch"]


class FittedHead(Classifier):
    """Base class: a classifier of all meta-train classes, with a new head for each support.

    Args:
        backbone: maps (B, *shape) to (B, features).
        fitting: keyword arguments for `fit`.
        batch_norm: see `MetricLearner`.
        head_fit: `full_batch` starts all labels of a task equal and uses the whole support in each
            step, so that a prediction does not depend on the order of the support or the numbers
            of the labels. `mini_batch` is the authors' fit: a random start, the same for all tasks,
            and passes over the support in random mini-batches of 4 items, with their rate of 0.01.
    """

    exportable = False  # the head is fitted to each support

    def __init__(
        self,
        backbone: nn.Module,
        fitting: dict[str, Any],
        batch_norm: BatchNormKind,
        head_fit: HeadFit,
    ) -> None:
        super().__init__(backbone, batch_norm)
        self.fitting = {**fitting, "batch": None if head_fit == "full_batch" else 4}

    @abstractmethod
    def fitted(self, z: Tensor, *weights: Tensor) -> Tensor:
        """Return logits (T, items, N) of one head per task for embeddings (T, items, D)."""

    @abstractmethod
    def start(self, z: Tensor, ways: int) -> Sequence[Tensor]:
        """Return the equal initial head weights, each (T, …), for supports (T, N·K, D)."""

    @abstractmethod
    def random_start(self, layer: nn.Linear) -> Sequence[Tensor]:
        """Return initial head weights, each (1, …), from a layer with torch's initial values."""

    def _start(self, z: Tensor, ways: int) -> Sequence[Tensor]:
        if self.fitting["batch"] is None:
            return self.start(z, ways)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            weights = self.random_start(nn.Linear(z.shape[2], ways))
        return [w.detach().to(z).expand(len(z), *w.shape[1:]) for w in weights]

    @torch.no_grad()
    def adapt_all(self, supports: Sequence[Examples]) -> list[Model]:
        """Fit the heads of all supports, in one batch if the supports have equal sizes."""
        if len({(len(support), support.labels) for support in supports}) > 1:
            return [self.adapt(support) for support in supports]
        inputs = [support.x for support in supports]
        if self.statistics == "running":  # embeddings do not depend on the batch
            z = self.embed(joined(*inputs)).unflatten(0, (len(supports), -1))
        else:
            z = torch.stack([self.embed(x) for x in inputs])
        y = torch.stack([support.y for support in supports])
        weights = fit(self.fitted, self._start(z, supports[0].labels), z, y, **self.fitting)
        return [self._model([w[t : t + 1] for w in weights]) for t in range(len(supports))]

    def adapt(self, support: Examples) -> Model:
        return self.adapt_all([support])[0]

    def _model(self, weights: Sequence[Tensor]) -> Model:
        return lambda x: self.fitted(self.embed(x).unsqueeze(0), *weights)[0]


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
    batch: int | None = None,
) -> list[Tensor]:
    """Fit one head per task to the supports of T tasks; return the weights, each (T, …).

    Chen et al. 2019, section 3.2: gradient descent on the cross-entropy with weight decay and
    momentum (the dampening equals the momentum). The loss is a sum over tasks, so tasks do not
    interact. The result is deterministic and does not depend on the order of the support, which is
    sorted by the sum of each embedding before it is divided into mini-batches.

    Args:
        head: (z, *weights) → logits (T, items, N).
        start: initial weights, each (T, …).
        z: (T, N·K, D) embeddings of the supports.
        y: (T, N·K) labels.
        steps: gradient steps on the whole support, or passes over it in mini-batches.
        batch: items of a mini-batch, which are drawn with the same seed for all tasks; `None`: the
            whole support.
    """
    weights = [w.detach().clone().requires_grad_() for w in start]
    optimizer = torch.optim.SGD(
        weights, lr=lr, momentum=momentum, dampening=momentum, weight_decay=weight_decay
    )
    items = z.shape[1]
    rng = torch.Generator().manual_seed(0)
    if batch is not None:
        order = z.sum(2).argsort(dim=1, stable=True)
        z, y = z.take_along_dim(order[..., None], 1), y.take_along_dim(order, 1)
    with torch.enable_grad():
        for _ in range(steps):
            drawn = [...] if batch is None else torch.randperm(items, generator=rng).split(batch)
            for rows in drawn:
                optimizer.zero_grad()
                zs, ys = (z, y) if rows is ... else (z[:, rows], y[:, rows])
                loss = F.cross_entropy(head(zs, *weights).transpose(1, 2), ys, reduction="none")
                loss.mean(1).sum().backward()
                optimizer.step()
    return [w.detach() for w in weights]
