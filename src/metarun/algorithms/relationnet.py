"""Relation networks (Sung et al. 2018)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner, members
from metarun.backbones.norm import BatchNorm, normalised_by
from metarun.errors import Refused
from metarun.tasks.task import Judged, Spec, Task


class Relation(nn.Module):
    """The relation module g, which scores each pair of a class and a query.

    Sung et al. 2018, section 3.4: two blocks of 3×3 convolution, batch normalisation, ReLU and 2×2
    max-pooling, then two linear layers. As in the authors' code, convolutions use no padding for
    maps of at least 10×10 and padding 1 for smaller maps. The input size of the linear layers is
    then 64 for 28×28 images and 576 for 84×84 images, as published.

    Args:
        maps: shape (C, H, W) of the feature maps of one item, at least 4×4.
        filters: channels of both blocks.
        hidden: width of the hidden linear layer.
    """

    def __init__(self, maps: tuple[int, int, int], filters: int, hidden: int) -> None:
        super().__init__()
        channels, *size = maps
        padding = 0 if min(size) >= 10 else 1
        for _ in range(2):
            size = [(n - 2 + 2 * padding) // 2 for n in size]
        self.first = nn.Conv2d(2 * channels, filters, 3, padding=padding)
        # Pooling before the ReLU gives the same result faster.
        self.rest = nn.Sequential(
            BatchNorm(filters),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Conv2d(filters, filters, 3, padding=padding),
            BatchNorm(filters),
            nn.MaxPool2d(2),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(filters * size[0] * size[1], hidden),
            nn.ReLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, classes: Tensor, query: Tensor) -> Tensor:
        """Relation scores (N·Q, N) before the sigmoid, from (N, C, H, W) and (N·Q, C, H, W).

        The first convolution of a pair's concatenated maps is the sum of a convolution of the class
        maps and one of the query maps: this needs N + N·Q convolutions instead of N·Q·N.
        """
        class_weight, query_weight = self.first.weight.chunk(2, dim=1)
        padding = self.first.padding
        a = F.conv2d(classes, class_weight, self.first.bias, padding=padding)
        b = F.conv2d(query, query_weight, padding=padding)
        pairs = (b.unsqueeze(1) + a).flatten(0, 1)  # (N·Q·N, filters, H, W)
        return self.rest(pairs).view(query.shape[0], classes.shape[0])


class RelationNet(MetricLearner):
    """Assigns a query to the class with the highest score of a learned relation module.

    Sung, Yang, Zhang, Xiang, Torr & Hospedales 2018, "Learning to Compare: Relation Network for
    Few-Shot Learning": r = g(C(f(xᵢ), f(xⱼ))) (equation 1), trained by the squared error of r
    against 1 for the query's class and 0 for the others (equation 2; here the mean over the pairs,
    as in the authors' code). The maps of all shots of a class are summed (section 3.2), so the
    number of shots has to be the same in training and in evaluation.

    Args:
        backbone: maps (B, *shape) to (B, features); its attribute `maps` is the shape (C, H, W) of
            the features.
        spec: not used: the module works with any number of classes.
        loss: `mse` of the relation scores, or `cross_entropy` of the scores before the sigmoid.
        filters: channels of the relation module.
        hidden: width of the hidden linear layer of the relation module.
        batch_norm: statistics in the backbone and in the relation module. `inductive`: running
            averages in evaluation; `transductive`: the queries by the statistics of the query
            batch, the support by its own, and the pairs of a task by theirs. In training, the
            support and queries of a task form one batch, and its pairs another.

    Raises:
        Refused: if the features of the backbone are not maps of at least 4×4.
    """

    fixed_shots = True

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        loss: Literal["mse", "cross_entropy"] = "mse",
        filters: PositiveInt = 64,
        hidden: PositiveInt = 8,
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        super().__init__(backbone, batch_norm)
        maps = getattr(backbone, "maps", None)
        if maps is None or min(maps[1:]) < 4:
            actual = "a vector" if maps is None else f"maps of {maps[1]}×{maps[2]}"
            raise Refused(
                f"backbone: the relation module needs feature maps of at least 4×4, this backbone "
                f"gives {actual}; for pictures, backbone=conv4_maps gives maps of a quarter of "
                "their height and width"
            )
        self.maps, self.loss = maps, loss
        self.relation = Relation(maps, filters, hidden)

    def outer_loss(self, task: Task) -> Judged:
        """Return the `relation_loss` and the same scores as in validation."""
        support, query = self.embed_together(task)
        logits = self.compare(support, task.support.y, query, task.support.labels)
        loss, scores = task.query.judged(logits)
        if self.loss == "mse":
            targets = F.one_hot(task.query.y, logits.shape[1]).to(logits.dtype)
            loss = F.mse_loss(logits.sigmoid(), targets)
        return Judged(loss, {**scores, "relation_loss": loss.detach()})

    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Relation scores before the sigmoid."""
        member = members(y, ways).to(support.dtype)  # (N·K, N)
        with normalised_by(self.relation, self.statistics):
            return self.relation(*(self._unfold(z) for z in (member.mT @ support, query)))

    def _unfold(self, z: Tensor) -> Tensor:
        """(B, features) → (B, C, H, W) in the channels-last memory format, which is faster."""
        return z.unflatten(1, self.maps).to(memory_format=torch.channels_last)
