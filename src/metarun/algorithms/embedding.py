"""The base class of learners that compare embeddings."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind, Learner
from metarun.backbones.norm import Statistics, normalised_by
from metarun.tasks.task import Examples, Inputs, Judged, Model, Task, each, joined


class MetricLearner(Learner):
    """Base class of learners that compare the embedding of a query with those of the support.

    In training, the support and queries of a task form one batch: they share batch-norm statistics,
    which update the running averages.

    Args:
        backbone: maps (B, *shape) to (B, features).
        batch_norm: statistics in evaluation. `inductive`: running averages; `transductive`: the
            queries of a task by their own statistics, the support by its own.
    """

    exportable = True

    def __init__(self, backbone: nn.Module, batch_norm: BatchNormKind) -> None:
        super().__init__()
        self.backbone, self.batch_norm = backbone, batch_norm

    @abstractmethod
    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Return the logits (N·Q, N) of one task.

        Args:
            support: (N·K, D) embeddings of the support.
            y: (N·K) labels of the support.
            query: (N·Q, D) embeddings of the queries.
            ways: number of classes N.
        """

    def adapt(self, support: Examples) -> Model:
        if self.statistics == "batch":
            embedded = self.embed(support.x)
            return lambda x: self.compare(embedded, support.y, self.embed(x), support.labels)

        def outputs(x: Inputs) -> Tensor:  # one forward pass for both is about 10 % faster
            z, items = self.embed(joined(support.x, x)), support.y.shape[0]
            return self.compare(z[:items], support.y, z[items:], support.labels)

        return outputs

    def outer_loss(self, task: Task) -> Judged:
        support, query = self.embed_together(task)
        return task.query.judged(self.compare(support, task.support.y, query, task.support.labels))

    def embed_together(self, task: Task) -> tuple[Tensor, Tensor]:
        """Embed support and queries as one batch: (N·K, D), (N·Q, D)."""
        z = self.backbone(channels_last(joined(task.support.x, task.query.x)))
        return z[: len(task.support)], z[len(task.support) :]

    def embed(self, x: Inputs) -> Tensor:
        """Embed items: (B, *shape) → (B, D)."""
        if self.statistics == "running":
            return self.backbone(channels_last(x))
        with normalised_by(self.backbone, "batch"):
            return self.backbone(channels_last(x))

    @property
    def statistics(self) -> Statistics:
        """The batch-norm mode of `embed`: `batch` only in transductive evaluation."""
        by_batch = self.batch_norm == "transductive" and not self.training
        return "batch" if by_batch else "running"


def members(y: Tensor, ways: int) -> Tensor:
    """Whether each item is of each class, (items, N), from labels (items).

    Unlike `torch.nn.functional.one_hot`, it can be exported for any number of ways.
    """
    return y.unsqueeze(-1) == torch.arange(ways, device=y.device)


def channels_last(x: Inputs) -> Inputs:
    """Convert images to the channels-last memory format, which is faster for convolutions."""
    return each(lambda x: x.to(memory_format=torch.channels_last) if x.dim() == 4 else x, x)
