"""Siamese networks."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner
from metarun.tasks.task import Judged, Spec, Task


def draw_pairs(y: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """As many pairs of items of one class as of two classes, all equally likely.

    Args:
        y: (items) labels 0 … N−1, equally many items of each, two at least.
        count: pairs of each kind.

    Raises:
        ValueError: some class has more items than another.

    Returns:
        Positions of the first and of the second items, and whether they are the same class (1 or
        0), each (2·count): first the pairs of one class.
    """
    ways = int(y.max()) + 1
    if len(y.bincount().unique()) > 1:
        raise ValueError(
            f"pairs are drawn from equally many items of each class, not {y.bincount()}"
        )
    members = y.argsort(stable=True).view(ways, -1)  # (N, items a class): positions in y
    each = members.shape[1]

    def draw(low: int, high: int) -> Tensor:
        return torch.randint(low, high, (count,), device=y.device)

    label, item = draw(0, ways), draw(0, each)
    same = members[label, item], members[label, (item + draw(1, each)) % each]
    label = draw(0, ways)
    other = (label + draw(1, ways)) % ways
    different = members[label, draw(0, each)], members[other, draw(0, each)]
    first, second = (torch.cat(both) for both in zip(same, different, strict=True))
    return first, second, (y[first] == y[second]).long()


class Siamese(MetricLearner):
    """Learns whether two items are of one class; a query goes to the class it resembles most.

    Koch, Zemel & Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition",
    sections 3.1 and 3.2: p = σ(Σⱼ αⱼ |h₁ⱼ − h₂ⱼ|), trained by binary cross-entropy on pairs, not by
    an episodic softmax. An episode serves as a bag of items from which pairs are drawn, as many of
    one class as of two; each item is embedded once. Unlike the paper's, the weighted distance has a
    bias (without one two equal items are "the same" with probability 0.5), and the network is the
    backbone, without layer-wise learning rates.

    Args:
        backbone: maps (B, *shape) to (B, features).
        spec: not used: there is no head for each label.
        pairs: pairs of each kind, drawn from each task.
        class_score: a query's similarity to a class of several shots: the `mean` over its items, or
            the `max`. The paper has one shot.
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the statistics of
            the query batch, and of the support for the support. In training the items of a task
            are one batch.
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
        """The `pair_loss` is minimised; the scores are to be compared with validation's."""
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
        to_items = self._similarity(query.unsqueeze(1), support)  # (N·Q, N·K)
        member = F.one_hot(y, ways)  # (N·K, N)
        if self.class_score == "mean":
            return to_items @ (member / member.sum(0)).to(to_items.dtype)
        return to_items.unsqueeze(-1).masked_fill(member == 0, -torch.inf).amax(1)

    def _similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Σⱼ αⱼ |aⱼ − bⱼ| + bias: the logit of being the same class, (…) from (…, D)."""
        return self.alpha((a - b).abs()).squeeze(-1)
