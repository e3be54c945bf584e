"""Siamese networks."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.algorithms import Algorithm, Task
from metarun.algorithms.embedding import for_evaluation, for_training
from metarun.tasks.objectives import score
from metarun.tasks.sampler import Episodes


def draw_pairs(y: Tensor, count: int) -> tuple[Tensor, Tensor, Tensor]:
    """As many pairs of items of one class as of two classes, all equally likely.

    Args:
        y: (items) labels 0 … N−1, equally many items of each, two at least.
        count: pairs of each kind.

    Returns:
        Positions of the first and of the second items, and whether they are the same class (1 or
        0), each (2·count): first the pairs of one class.
    """
    ways = int(y.max()) + 1
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


class Siamese(Algorithm):
    """Learns whether two items are of one class; a query goes to the class it resembles most.

    Koch, Zemel & Salakhutdinov 2015, "Siamese Neural Networks for One-shot Image Recognition",
    sections 3.1 and 3.2: p = σ(Σⱼ αⱼ |h₁ⱼ − h₂ⱼ|), trained by binary cross-entropy on pairs, not by
    an episodic softmax. An episode serves as a bag of items from which pairs are drawn, as many of
    one class as of two; each item is embedded once. Unlike the paper's, the weighted distance has a
    bias (without one two equal items are "the same" with probability 0.5), and the network is the
    backbone, without layer-wise learning rates.

    Args:
        backbone: maps (B, *shape) to (B, features).
        task: not used: there is no head for each label.
        pairs: pairs of each kind, drawn from each task.
        class_score: a query's similarity to a class of several shots: the `mean` over its items, or
            the `max`. The paper has one shot.
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the statistics of
            the query batch, and of the support for the support. In training the items of a task
            are one batch.
    """

    minimises = "pair_loss"

    def __init__(
        self,
        backbone: nn.Module,
        task: Task,
        *,
        pairs: PositiveInt = 500,
        class_score: Literal["mean", "max"] = "mean",
        batch_norm: Literal["transductive", "inductive"] = "inductive",
    ) -> None:
        super().__init__()
        self.backbone, self.pairs = backbone, pairs
        self.class_score, self.batch_norm = class_score, batch_norm
        self.alpha = nn.Linear(backbone.features, 1)

    def accumulate(self, episodes: Episodes) -> dict[str, Tensor]:
        """Adds the gradient of the pairs' loss; the scores are those of the queries.

        `loss` and `accuracy` are of N-way prediction, to be compared with validation's;
        `pair_loss` is what is minimised.
        """
        outputs, losses = [], []
        for task in for_training(self.backbone, episodes):
            z = torch.cat([task.support[0], task.query[0]])
            first, second, same = draw_pairs(
                torch.cat([task.support_y[0], task.query_y[0]]), self.pairs
            )
            similarity = self._similarity(z[first], z[second])
            loss = F.binary_cross_entropy_with_logits(similarity, same.to(similarity.dtype))
            (loss / len(episodes)).backward()
            losses.append(loss.detach())
            with torch.no_grad():
                outputs.append(self._logits(task.support, task.support_y, task.query))
        return {
            **score(torch.cat(outputs), episodes.query_y),
            "pair_loss": torch.stack(losses),
        }

    @torch.no_grad()
    def predict(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        support, query = for_evaluation(self.backbone, support_x, query_x, self.batch_norm)
        return self._logits(support, support_y, query)

    def _similarity(self, a: Tensor, b: Tensor) -> Tensor:
        """Σⱼ αⱼ |aⱼ − bⱼ| + bias: the logit of being the same class, (…) from (…, D)."""
        return self.alpha((a - b).abs()).squeeze(-1)

    def _logits(self, support: Tensor, support_y: Tensor, query: Tensor) -> Tensor:
        """Similarity of each query to each class, (T, N·Q, N), before the sigmoid."""
        to_items = torch.stack(  # (T, N·Q, N·K), one task at a time: differences are large
            [self._similarity(q.unsqueeze(1), s) for q, s in zip(query, support, strict=True)]
        )
        member = F.one_hot(support_y, int(support_y.max()) + 1)  # (T, N·K, N)
        if self.class_score == "mean":
            return to_items @ (member / member.sum(1, keepdim=True)).to(to_items.dtype)
        others = member.unsqueeze(1) == 0  # (T, 1, N·K, N)
        return to_items.unsqueeze(-1).masked_fill(others, -torch.inf).amax(2)
