"""No network: the features are the inputs."""

from __future__ import annotations

import math

from torch import Tensor, nn


class Identity(nn.Module):
    """Returns its flattened input, so that learners compare raw pixels, counts or frequencies.

    Args:
        shape: shape of one item.
        mean_over_time: average over the last dimension, the time of spectrograms.

    Attributes:
        features: length of the feature vector, the product of `shape`, without time if averaged.
    """

    def __init__(self, shape: tuple[int, ...], *, mean_over_time: bool = False) -> None:
        super().__init__()
        self.mean_over_time = mean_over_time
        self.features = math.prod(shape[:-1] if mean_over_time else shape)

    def forward(self, x: Tensor) -> Tensor:
        """(B, *shape) → (B, features)."""
        return (x.mean(-1) if self.mean_over_time else x).flatten(1)
