"""Matching networks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms import BatchNormKind
from metarun.algorithms.embedding import MetricLearner
from metarun.tasks.task import Spec


def log_probabilities(
    query: Tensor, support: Tensor, support_y: Tensor, ways: int, temperature: float
) -> Tensor:
    """Log of the attention-weighted label probabilities, (N·Q, N).

    P(y | x̂, S) = Σᵢ a(x̂, xᵢ) [yᵢ = y], a = softmax over the support of cosine / temperature
    (Vinyals et al. 2016, equation 1 and section 2.1.1). Sums are taken of logarithms, so that a
    small probability does not become log 0.

    Args:
        query: (N·Q, D).
        support: (N·K, D).
        support_y: (N·K) labels.
    """
    cosine = F.normalize(query, dim=-1) @ F.normalize(support, dim=-1).mT
    log_attention = F.log_softmax(cosine / temperature, dim=-1).unsqueeze(-1)  # (N·Q, N·K, 1)
    others = F.one_hot(support_y, ways) == 0  # (N·K, N)
    return log_attention.masked_fill(others, -torch.inf).logsumexp(1)


class FullContext(nn.Module):
    """Full context embeddings: each item is embedded in the light of the whole support.

    Vinyals et al. 2016, appendix A. g is a bidirectional LSTM over the support in the order given,
    so it depends on that order; episodes come grouped by label, with labels permuted afresh. f is
    an LSTM that attends to g's support in each of K steps; the paper does not give its first state:
    here h₀ = f′(x̂), what equation 4 gives where the LSTM has put out nothing, and c₀ = 0.

    Args:
        features: D.
        steps: processing steps K.
    """

    def __init__(self, features: int, steps: int) -> None:
        super().__init__()
        self.g = nn.LSTM(features, features, bidirectional=True)
        # Equation 3 has [h, r] as the hidden state: as its gates are linear in x, h and r, that is
        # an LSTM with input [x, r] and hidden state h.
        self.f = nn.LSTMCell(2 * features, features)
        self.steps = steps

    def forward(self, support: Tensor, query: Tensor) -> tuple[Tensor, Tensor]:
        """(N·K, D), (N·Q, D) → the same shapes."""
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
    """Labels a query by its attention over the support.

    Vinyals, Blundell, Lillicrap, Kavukcuoglu & Wierstra 2016, "Matching Networks for One Shot
    Learning". Unlike the paper the cosine is divided by a temperature: it lies within −1 … 1, so a
    softmax over it alone is nearly flat (with 5 ways at most e² times as much on one item as on
    another), and training collapses.

    Args:
        backbone: maps (B, *shape) to (B, features): f′ and g′, the same network.
        spec: not used: there is no head.
        temperature: divides the cosine.
        fce: full context embeddings (section 2.1.2), whose predictions depend on the order of the
            support.
        fce_steps: processing steps K of the query's LSTM; the paper does not say how many.
        batch_norm: `inductive`: running averages in evaluation; `transductive`: the statistics of
            the query batch, and of the support for the support. In training the support and
            queries of a task are one batch.
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
        self.temperature, self.order_matters = temperature, fce
        self.context = FullContext(backbone.features, fce_steps) if fce else None

    def compare(self, support: Tensor, y: Tensor, query: Tensor, ways: int) -> Tensor:
        if self.context is not None:
            support, query = self.context(support, query)
        # Cross-entropy of log probabilities is the negative log likelihood: they sum to 1.
        return log_probabilities(query, support, y, ways, self.temperature)
