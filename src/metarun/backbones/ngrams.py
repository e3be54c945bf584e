"""A network for counts of n-grams, of which a new class brings many that training never saw."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, NonNegativeInt, PositiveFloat
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused


class NGrams(nn.Module):
    """The counts themselves, weighed, and beside them one wide layer over them.

    A dense network over hashed n-grams falls behind the counts it started from: to the n-grams of
    new classes it has learned nothing but noise. So the counts stay in the embedding, each times a
    weight that starts at 1, as inverse document frequencies would, but learned. The layer adds what
    n-grams have in common.

    Args:
        shape: (D,) of one item.
        hidden: width of the layer; 0: the weighed counts alone, with a weight for each feature.
        share: length of the layer's output, the weighed counts having length 1.
        scale: multiplies both: distances between items grow with it.

    Raises:
        Refused: items are not vectors.
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
                f"backbone: NGrams takes vectors (D,), the data has {shape}; backbone=conv4 takes "
                "pictures"
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
        counts = _unit(x * self.weight)
        if self.layer is None:
            return self.scale * counts
        return self.scale * torch.cat([counts, self.share * _unit(self.layer(counts))], dim=1)


def _unit(x: Tensor) -> Tensor:
    """Rows of length 1; a row of zeros stays one, with derivatives that are finite."""
    return x * (x.square().sum(1, keepdim=True) + 1e-12).rsqrt()
