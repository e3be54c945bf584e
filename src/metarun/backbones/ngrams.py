"""A network for n-gram counts."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused


class NGrams(nn.Module):
    """Concatenates the weighted n-gram counts with the output of one hidden layer on them.

    A new class contains many n-grams that do not occur in training. A dense network has learned
    nothing about them, so its features are worse than the counts themselves. The embedding
    therefore contains the counts. Each count has a learned weight with initial value 1, similar to
    an inverse document frequency. The hidden layer adds relations between n-grams.

    Args:
        shape: shape (D,) of one item.
        hidden: width of the hidden layer; 0 for the weighted counts only.
        share: norm of the output of the hidden layer, relative to the norm 1 of the counts.
        scale: factor of the whole embedding, which scales the distances between items.

    Raises:
        Refused: if items are not vectors.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        hidden: NonNegativeInt = 256,
        share: Annotated[float, Field(gt=0, le=10)] = 0.7,
        scale: PositiveFloat = 3.0,
    ) -> None:
        super().__init__()
        if len(shape) != 1:
            raise Refused(
                f"backbone: NGrams takes vectors (D,), the data has {shape}; "
                "backbone=conv4 takes pictures"
            )
        self.weight = nn.Parameter(torch.ones(shape))
        self.layer = (
            nn.Sequential(nn.Linear(shape[0], hidden), BatchNorm(hidden), nn.ReLU())
            if hidden
            else None
        )
        self.share, self.scale = share, scale
        self.features = shape[0] + hidden

    def forward(self, x: Tensor) -> Tensor:
        """(B, D) → (B, D + hidden)."""
        counts = unit(x * self.weight)
        if self.layer is None:
            return self.scale * counts
        return self.scale * torch.cat([counts, self.share * unit(self.layer(counts))], dim=1)


def unit(x: Tensor) -> Tensor:
    """Scale rows to norm 1. A row of zeros stays zero and has finite derivatives."""
    return x * (x.square().sum(1, keepdim=True) + 1e-12).rsqrt()
