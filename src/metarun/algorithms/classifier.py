"""Supervised training on all meta-train classes, the first stage of some learners."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner, channels_last
from metarun.errors import Refused
from metarun.tasks.task import Examples, Judged, Spec, Task, joined


class Classifier(MetricLearner):
    """Base class of learners that train a classifier of all meta-train classes."""

    joint = True

    @abstractmethod
    def classify(self, z: Tensor) -> Tensor:
        """Return logits (B, classes) of all meta-train classes for embeddings (B, D)."""

    def outer_losses(self, tasks: Sequence[Task]) -> Iterator[Judged]:
        """Cross-entropy over all meta-train classes.

        The support and query items of all T tasks form one batch; the label of an item is the
        number of its class in the whole split. Each of the T·N randomly drawn classes has equally
        many items in the batch, whereas Chen et al. 2019 draw items independently.
        """
        x = joined(*(joined(task.support.x, task.query.x) for task in tasks))
        y = [task.classes[torch.cat([task.support.y, task.query.y])] for task in tasks]
        outputs = self.classify(self.backbone(channels_last(x))).split(
            [len(labels) for labels in y]
        )
        for task, logits, labels in zip(tasks, outputs, y, strict=True):
            yield Examples(None, labels, task.query.objective).judged(logits)

    def outer_loss(self, task: Task) -> Judged:
        return next(self.outer_losses([task]))


class LinearClassifier(Classifier):
    """Base class of classifiers with a linear head, without training if the backbone is frozen.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: sets the number of classes of the head.
        name: of the algorithm, for messages.
        batch_norm: see `MetricLearner`.

    Raises:
        Refused: the data has no classes, and the backbone is not frozen.
    """

    def __init__(
        self, backbone: nn.Module, spec: Spec, name: str, batch_norm: BatchNormKind
    ) -> None:
        super().__init__(backbone, batch_norm)
        self.learns = any(p.requires_grad for p in backbone.parameters())
        if self.learns:
            self.head = nn.Linear(backbone.features, classes_of(spec, name))

    def classify(self, z: Tensor) -> Tensor:
        return self.head(z)


def classes_of(spec: Spec, name: str) -> int:
    """Return the number of meta-train classes.

    Raises:
        Refused: if the data has no classes.
    """
    if not spec.classes:
        raise Refused(f"algo={name}: trains on all classes at once, and the data has none")
    return spec.classes
