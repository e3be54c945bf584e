"""SimpleShot: the nearest mean of features that are centred and normalised."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.classifier import LinearClassifier
from metarun.algorithms.protonet import prototypes, similarity
from metarun.tasks.task import Examples, Model, Spec, Task, joined


class SimpleShot(LinearClassifier):
    """A classifier of all meta-train classes; then the class with the nearest mean feature.

    Wang, Chao, Weinberger & van der Maaten 2019, "SimpleShot: Revisiting Nearest-Neighbor
    Classification for Few-Shot Learning". With a frozen backbone nothing is trained.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of classes of the training head.
        transform: of features before they are averaged and compared (section 2). `un`: none;
            `l2n`: divided by their Euclidean norm; `cl2n`: the mean feature of meta-train items is
            subtracted first. The mean is that of 200 training tasks, computed before each
            validation and kept with the weights.
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the queries by the
            statistics of the query batch, the support by its own.

    Raises:
        Refused: the data has no classes.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        transform: Literal["un", "l2n", "cl2n"] = "cl2n",
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        super().__init__(backbone, spec, "simpleshot", batch_norm)
        self.transform = transform
        self.register_buffer("mean", torch.zeros(backbone.features))

    def see_training_tasks(self, tasks: Iterable[Task]) -> None:
        """Compute the mean feature of the items of training tasks."""
        if self.transform != "cl2n":
            return
        training, total, count = self.training, torch.zeros_like(self.mean), 0
        self.eval()
        for task in tasks:
            z = self.embed(joined(task.support.x, task.query.x))
            total, count = total + z.sum(0), count + len(z)
        self.train(training)
        self.mean.copy_(total / count)

    def adapt(self, support: Examples) -> Model:
        centroids = prototypes(self._features(support.x), support.y, support.labels)
        return lambda x: similarity(self._features(x), centroids, "squared_euclidean")

    def adapt_all(self, supports: Sequence[Examples]) -> list[Model]:
        return [self.adapt(support) for support in supports]

    def _features(self, x: Tensor) -> Tensor:
        z = self.embed(x)
        if self.transform == "un":
            return z
        return F.normalize(z - self.mean if self.transform == "cl2n" else z, dim=-1)
