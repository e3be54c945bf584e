"""Relation networks."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner
from metarun.backbones.norm import BatchNorm, normalised_by
from metarun.errors import Refused
from metarun.tasks.task import Judged, Spec, Task


class Relation(nn.Module):
    """The relation module g: how well a query's feature maps go with a class's.

    Sung et al. 2018, section 3.4: two blocks of 3×3 convolution, batch normalisation, ReLU and 2×2
    max-pooling, then two linear layers. Maps of 10×10 and more are convolved without padding,
    smaller ones with, as the authors do: the linear layers get 64 numbers for 28×28 pictures and
    576 for 84×84, as published.

    Args:
        maps: (C, H, W) of one item's maps, 4×4 at least.
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
        # Pooled before the ReLU: the same result, sooner.
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
        """Relation scores before the sigmoid, (N·Q, N), from (N, C, H, W) and (N·Q, C, H, W).

        The first convolution of each pair's maps, one behind the other, is the sum of a convolution
        of the class's and one of the query's: N + N·Q of them instead of N·Q·N.
        """
        of_class, of_query = self.first.weight.chunk(2, dim=1)
        padding = self.first.padding
        a = F.conv2d(classes, of_class, self.first.bias, padding=padding)
        b = F.conv2d(query, of_query, padding=padding)
        pairs = (b.unsqueeze(1) + a).flatten(0, 1)  # (N·Q·N, filters, H, W)
        return self.rest(pairs).view(len(query), len(classes))


class RelationNet(MetricLearner):
    """Labels a query by the class that a learned module finds it most related to.

    Sung, Yang, Zhang, Xiang, Torr & Hospedales 2018, "Learning to Compare: Relation Network for
    Few-Shot Learning": r = g(C(f(xᵢ), f(xⱼ))) (equation 1), trained by the squared error of r
    against 1 for the query's class and 0 for the others (equation 2; here its mean over the pairs,
    as in the authors' code). The maps of a class's shots are summed (section 3.2): the module has
    to be trained with as many shots as it is tested with.

    Args:
        backbone: maps (B, *shape) to (B, features) and says in `maps` the (C, H, W) that they are.
        spec: not used: the module compares with any number of classes.
        loss: `mse` of the relation scores, or `cross_entropy` of the scores before the sigmoid.
        filters: channels of the relation module.
        hidden: width of its hidden linear layer.
        batch_norm: in the embedding and in the relation module. `inductive`: running averages in
            evaluation; `transductive`: the statistics of the query batch, for the support its own,
            and in the relation module those of a task's pairs. In training the support and queries
            of a task are one batch, and its pairs another.

    Raises:
        Refused: the backbone's features are not maps of 4×4 at least.
    """

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
            has = "a vector" if maps is None else f"maps of {maps[1]}×{maps[2]}"
            raise Refused(
                f"backbone: the relation module needs feature maps of 4×4 at least, this one gives "
                f"{has}; for pictures, backbone=conv4_maps gives a quarter of their size"
            )
        self.maps, self.loss = maps, loss
        self.relation = Relation(maps, filters, hidden)

    def outer_loss(self, task: Task) -> Judged:
        """The `relation_loss` is minimised; the scores are to be compared with validation's."""
        support, query = self.embed_together(task)
        logits = self.compare(support, task.support.y, query, task.support.labels)
        loss, scores = task.query.judged(logits)
        if self.loss == "mse":
            wanted = F.one_hot(task.query.y, logits.shape[1]).to(logits.dtype)
            loss = F.mse_loss(logits.sigmoid(), wanted)
        return Judged(loss, {**scores, "relation_loss": loss.detach()})

    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Relation scores before the sigmoid."""
        member = F.one_hot(y, ways).to(support.dtype)  # (N·K, N)
        with normalised_by(self.relation, self.statistics):
            return self.relation(*(self._unfold(z) for z in (member.mT @ support, query)))

    def _unfold(self, z: Tensor) -> Tensor:
        """(B, features) → (B, C, H, W), with the channels innermost: convolution is faster so."""
        return z.unflatten(1, self.maps).to(memory_format=torch.channels_last)
