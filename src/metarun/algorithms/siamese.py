"""Siamese networks (Koch et al. 2015)."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner, members
from metarun.tasks.task import Judged, Spec, Task


def draw_pairs(y: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """Draw pairs of items of the same class and equally many of different classes, uniformly.

    Args:
        y: (items) labels 0 … N−1, with equally many items of each class, at least two.
        count: number of pairs of each kind.

    Returns:
        Indices of the first items, indices of the second items, and 1 for the same class or 0, each
        (2·count). Pairs of the same class come first.

    Raises:
        ValueError: if the classes have different numbers of items.
    """
    ways = int(y.max()) + 1
    if len(y.bincount().unique()) > 1:
        raise ValueError(f"expected equally many items of each class, got {y.bincount()}")
    members = y.argsort(stable=True).view(ways, -1)  # (N, items per class), indices into y
    items = members.shape[1]

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (count,)).to(y.device)  # the same numbers on every device

    label, item = draw(0, ways), draw(0, items)
    same = members[label, item], members[label, (item + draw(1, items)) % items]
    label = draw(0, ways)
    other = (label + draw(1, ways)) % ways
    different = members[label, draw(0, items)], members[other, draw(0, items)]
    first, second = (torch.cat(indices) for indices in zip(same, different, strict=True))
    return first, second, (y[first] == y[second]).long()


class Siamese(MetricLearner):
    """Learns whether two items have the same class; a query gets the most similar class.

    Koch, Zemel & Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition",
    sections 3.1 and 3.2: p = σ(Σⱼ αⱼ |h₁ⱼ − h₂ⱼ|), trained by binary cross-entropy on pairs
    instead of an episodic softmax. The pairs are drawn from all items of an episode, equally many
    of the same class and of different classes; each item is embedded once. Unlike in the paper, the
    weighted distance has a bias (without it, two equal items would have p = 0.5), the network is
    the backbone, and there are no layer-wise learning rates.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: not used: there is no per-label head.
        pairs: number of pairs of each kind, drawn from each task.
        class_score: similarity of a query to a class with several shots: the `mean` over the items
            of the class, or the `max`. The paper has one shot.
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the queries by the
            statistics of the query batch, the support by its own. In training, the items of a task
            form one batch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        pairs: PositiveInt = 500,
        class_score: Literal["mean", "max"] = "mean",
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        super().__init__(backbone, batch_norm)
        self.pairs, self.class_score = pairs, class_score
        self.alpha = nn.Linear(backbone.features, 1)

    def outer_loss(self, task: Task) -> Judged:
        """Return the `pair_loss` and the same scores as in validation."""
        support, query = self.embed_together(task)
        z, y = torch.cat([support, query]), torch.cat([task.support.y, task.query.y])
        first, second, same = draw_pairs(y, self.pairs)
        similarity = self._similarity(z[first], z[second])
        loss = F.binary_cross_entropy_with_logits(similarity, same.to(similarity.dtype))
        with torch.no_grad():
            logits = self.compare(support, task.support.y, query, task.support.labels)
            scores = task.query.judged(logits).scores
        return Judged(loss, {**scores, "pair_loss": loss.detach()})

    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        """Similarity of each query to each class, before the sigmoid."""
        similarity = self._similarity(query.unsqueeze(1), support)  # (N·Q, N·K)
        member = members(y, ways).int()  # (N·K, N)
        if self.class_score == "mean":
            return similarity @ (member / member.sum(0)).to(similarity.dtype)
        return similarity.unsqueeze(-1).masked_fill(member == 0, -torch.inf).amax(1)

    def _similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Σⱼ αⱼ |aⱼ − bⱼ| + bias, the logit of "same class", (…, D) → (…)."""
        return self.alpha((a - b).abs()).squeeze(-1)
