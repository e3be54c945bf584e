"""Matching networks (Vinyals et al. 2016)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner, members
from metarun.tasks.task import Spec


def log_probabilities(
    query: Tensor, support: Tensor, support_y: Tensor, ways: int, temperature: float
) -> Tensor:
    """Logarithms (N·Q, N) of the attention-weighted label probabilities.

    P(y | x̂, S) = Σᵢ a(x̂, xᵢ) [yᵢ = y], a = softmax over the support of cosine / temperature
    (Vinyals et al. 2016, equation 1 and section 2.1.1). The sum is computed in log space, so that a
    small probability does not become log 0.

    Args:
        query: (N·Q, D) embeddings of the queries.
        support: (N·K, D) embeddings of the support.
        support_y: (N·K) labels of the support.
    """
    cosine = F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT
    log_attention = F.log_softmax(cosine / temperature, dim=-1).unsqueeze(-1)  # (N·Q, N·K, 1)
    other_class = ~members(support_y, ways)  # (N·K, N)
    return log_attention.masked_fill(other_class, -torch.inf).logsumexp(1)


class FullContext(nn.Module):
    """Full context embeddings: the embedding of an item depends on the whole support.

    Vinyals et al. 2016, appendix A. g is a bidirectional LSTM over the support, so it depends on
    the order of the support: items are grouped by label, and labels are assigned to classes at
    random. f is an LSTM that attends to the support embeddings in each of K steps. The paper does
    not specify its initial state: here h₀ = f′(x̂), which equation 4 gives for an LSTM output of 0,
    and c₀ = 0.

    Args:
        features: length D of an embedding.
        steps: number K of processing steps.
    """

    def __init__(self, features: int, steps: int) -> None:
        super().__init__()
        self.g = nn.LSTM(features, features, bidirectional=True)
        # The hidden state in equation 3 is [h, r]. The gates are linear in x, h and r, so this
        # equals an LSTM with input [x, r] and hidden state h.
        self.f = nn.LSTMCell(2 * features, features)
        self.steps = steps

    def forward(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """Embed support (N·K, D) and queries (N·Q, D); the shapes do not change."""
        forwards, backwards = self.g(support)[0].chunk(2, dim=-1)
        support = forwards + backwards + support  # appendix A.2
        h, c = query, torch.zeros_like(query)
        for _ in range(self.steps):  # appendix A.1
            attention = h @ support.mT  # equation 6
            read = attention.softmax(-1) @ support  # equation 5
            out, c = self.f(torch.cat([query, read], dim=-1), (h, c))  # equation 3
            h = out + query  # equation 4
        return support, h


class MatchingNet(MetricLearner):
    """Predicts the label of a query by attention over the support.

    Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra 2016, "Matching Networks for One Shot
    Learning". Unlike in the paper, the cosine is divided by a temperature. A cosine is between −1
    and 1, so without a temperature the softmax is nearly flat (the largest attention weight is at
    most e² times the smallest) and training collapses.

    Args:
        backbone: maps (B, *shape) to (B, features); it is both f′ and g′.
        spec: not used: there is no head.
        temperature: divisor of the cosine.
        fce: use full context embeddings (section 2.1.2); predictions then depend on the order of
            the support.
        fce_steps: number K of processing steps for a query; the paper does not specify it.
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the queries by the
            statistics of the query batch, the support by its own. In training, the support and
            queries of a task form one batch.
    """

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        temperature: PositiveFloat = 0.1,
        fce: bool = False,
        fce_steps: PositiveInt = 5,
        batch_norm: BatchNormKind = "inductive",
    ) -> None:
        super().__init__(backbone, batch_norm)
        self.temperature, self.order_matters, self.exportable = temperature, fce, not fce
        self.context = FullContext(backbone.features, fce_steps) if fce else None

    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        if self.context is not None:
            support, query = self.context(support, query)
        # The probabilities sum to 1, so cross-entropy of their logarithms is the NLL.
        return log_probabilities(query, support, y, ways, self.temperature)
