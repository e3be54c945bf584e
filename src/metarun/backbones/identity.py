"""No network: the features are the inputs."""

from __future__ import annotations

import math

from torch import Tensor, nn


class Identity(nn.Module):
    """Returns its flattened input, so that learners compare raw pixels or counts.

    Args:
        shape: shape of one item.

    Attributes:
        features: length of the feature vector, the product of `shape`.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.features = math.prod(shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) → (B, features)."""
        return x.flatten(1)
