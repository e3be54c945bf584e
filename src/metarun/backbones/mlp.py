"""A fully connected network over the flattened input."""

from __future__ import annotations

import math

from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm


class MLP(nn.Module):
    """Layers of linear map, batch normalisation (if wanted) and ReLU.

    The default widths are those of MAML's fully connected network for Omniglot (Finn et al. 2017,
    section 5.2).

    Args:
        shape: shape of one item; it is flattened.
        hidden: width of each layer; the last is the number of features.
        batch_norm: normalise before each ReLU.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        hidden: list[PositiveInt] = [256, 128, 64, 64],  # noqa: B006 (read only)
        batch_norm: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Flatten()]
        width = math.prod(shape)
        for n in hidden:
            layers.append(nn.Linear(width, n))
            if batch_norm:
                layers.append(BatchNorm(n))
            layers.append(nn.ReLU())
            width = n
        self.layers = nn.Sequential(*layers)
        self.features = width

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) → (B, features)."""
        return self.layers(x)
