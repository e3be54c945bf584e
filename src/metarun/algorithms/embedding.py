"""Embeds support and queries for learners that compare them."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind, Learner
from metarun.backbones.norm import Statistics, normalised_by
from metarun.tasks.task import Examples, Inputs, Judged, Model, Task, each, joined


class MetricLearner(Learner):
    """Labels a query by comparing its embedding with those of the support.

    In training the support and queries of a task are one batch: they share the statistics of batch
    normalisation, and the running averages follow them.

    Args:
        backbone: maps (B, *shape) to (B, features).
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the queries of a
            task by their own statistics, its support by its own.
    """

    def __init__(self, backbone: nn.Module, batch_norm: BatchNormKind) -> None:
        super().__init__()
        self.backbone, self.batch_norm = backbone, batch_norm

    @abstractmethod
    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Logits (N·Q, N) of one task.

        Args:
            support: (N·K, D) embedded.
            y: (N·K) its labels.
            query: (N·Q, D) embedded.
        """

    def adapt(self, support: Examples) -> Model:
        if self.statistics == "batch":
            embedded = self.embed(support.x)
            return lambda x: self.compare(embedded, support.y, self.embed(x), support.labels)

        def outputs(x: Inputs) -> Tensor:  # support and queries as one batch: a tenth quicker
            z = self.embed(joined(support.x, x))
            return self.compare(z[: len(support)], support.y, z[len(support) :], support.labels)

        return outputs

    def outer_loss(self, task: Task) -> Judged:
        support, query = self.embed_together(task)
        return task.query.judged(self.compare(support, task.support.y, query, task.support.labels))

    def embed_together(self, task: Task) -> tuple[Tensor, Tensor]:
        """Support (N·K, D) and queries (N·Q, D), embedded as one batch."""
        z = self.backbone(laid_out(joined(task.support.x, task.query.x)))
        return z[: len(task.support)], z[len(task.support) :]

    def embed(self, x: Inputs) -> Tensor:
        """Items (B, *shape) as (B, D)."""
        if self.statistics == "running":
            return self.backbone(laid_out(x))
        with normalised_by(self.backbone, "batch"):
            return self.backbone(laid_out(x))

    @property
    def statistics(self) -> Statistics:
        """What batch normalisation takes outside a training batch."""
        by_batch = self.batch_norm == "transductive" and not self.training
        return "batch" if by_batch else "running"


def laid_out(x: Inputs) -> Inputs:
    """Pictures with their channels innermost, which convolution and pooling take in faster."""
    return each(lambda x: x.to(memory_format=torch.channels_last) if x.dim() == 4 else x, x)
