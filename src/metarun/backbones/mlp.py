"""A fully connected network."""

from __future__ import annotations

import math

from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm


class MLP(nn.Module):
    """Fully connected layers, each followed by optional batch normalisation and ReLU.

    The default widths are those of the fully connected network of MAML for Omniglot (Finn et al.
    2017, section 5.2).

    Args:
        shape: shape of one item, which is flattened.
        hidden: width of each layer; the last width is the number of features.
        batch_norm: apply batch normalisation before each ReLU.
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
