"""Prototypical networks (Snell et al. 2017)."""

from __future__ import annotations

import math
from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner, members
from metarun.tasks.task import Spec

Distance = Literal["squared_euclidean", "euclidean", "cosine"]


def prototypes(z: Tensor, y: Tensor, ways: int) -> Tensor:
    """Mean embedding (N, D) of each class (Snell et al. 2017, equation 1).

    Args:
        z: (N·K, D) embeddings of the support.
        y: (N·K) labels.
    """
    member = members(y, ways).to(z.dtype)  # (N·K, N)
    return member.mT @ z / member.sum(0).unsqueeze(-1)


def similarity(z: Tensor, centres: Tensor, distance: Distance) -> Tensor:
    """Logits (N·Q, N): the negative distance, or the cosine, of each query and each prototype.

    Args:
        z: (N·Q, D) embeddings of the queries.
        centres: (N, D) prototypes.
    """
    if distance == "cosine":
        return F.normalize(z, dim=-1) @ F.normalize(centres, dim=-1).mT
    squared = (z.unsqueeze(1) - centres).square().sum(-1)
    if distance == "squared_euclidean":
        return -squared
    return -squared.clamp_min(1e-12).sqrt()  # the derivative is infinite at 0


class ProtoNet(MetricLearner):
    """Assigns a query to the class with the nearest prototype, the mean support embedding.

    Snell, Swersky & Zemel 2017, "Prototypical Networks for Few-shot Learning", equations 1 and 2:
    a softmax over the negative squared Euclidean distances.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: not used: prototypes need no head.
        distance: distance between query and prototype. `euclidean` predicts the same class as
            `squared_euclidean` but has a different loss; `cosine` is a similarity.
        temperature: divisor of the logits; by default 1 for distances and 0.1 for the cosine, whose
            logits would otherwise differ too little for training.
        learn_temperature: train the temperature, starting from `temperature` (not in the paper).
            The parameter is its logarithm, so the temperature stays positive.
        batch_norm: `inductive`: running averages in evaluation, as published; `transductive`: the
            queries by the statistics of the query batch, the support by its own. In training, the
            support and queries of a task form one batch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        distance: Distance = "squared_euclidean",
        temperature: PositiveFloat | None = None,
        learn_temperature: bool = False,
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        super().__init__(backbone, batch_norm)
        self.distance = distance
        self.start = temperature or (0.1 if distance == "cosine" else 1.0)
        self.log_temperature = (
            nn.Parameter(torch.tensor(math.log(self.start))) if learn_temperature else None
        )

    @property
    def temperature(self) -> Tensor | float:
        """The current divisor of the logits."""
        return self.start if self.log_temperature is None else self.log_temperature.exp()

    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        return similarity(query, prototypes(support, y, ways), self.distance) / self.temperature
