"""The base class of networks that were trained elsewhere on pictures of one size."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.errors import Refused


class Pretrained(nn.Module):
    """Embeds pictures of any size with a network that expects another size and normalisation.

    Pictures with values in 0…1 are resized to the network's size by bilinear interpolation with
    antialiasing, grey ones are repeated for red, green and blue, and all are normalised by the mean
    and deviation of the network's training.

    Args:
        shape: (C, H, W) of one item, with 1 or 3 channels.
        features: length of the feature vector.
        size: height and width of the network's pictures.
        mean, deviation: of the channels of the network's pictures.

    Attributes:
        pretraining: what the network has seen, for the protocol.

    Raises:
        Refused: items are not pictures.
    """

    pretraining: str

    def __init__(
        self,
        shape: tuple[int, ...],
        features: int,
        size: tuple[int, int],
        mean: Sequence[float],
        deviation: Sequence[float],
    ) -> None:
        super().__init__()
        if len(shape) != 3 or shape[0] not in (1, 3):
            raise Refused(
                f"backbone: {type(self).__name__} takes pictures (1, H, W) or (3, H, W), the data "
                f"has {shape}"
            )
        self.features, self.size = features, size
        channels = (torch.tensor(values).view(3, 1, 1) for values in (mean, deviation))
        for name, values in zip(("mean", "deviation"), channels, strict=True):
            self.register_buffer(name, values, persistent=False)

    @abstractmethod
    def embed(self, x: Tensor) -> Tensor:
        """Return features (B, features) of normalised pictures (B, 3, *size)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) with values in 0…1 → (B, features)."""
        if x.shape[2:] != self.size:
            x = F.interpolate(x, self.size, mode="bilinear", antialias=True, align_corners=False)
        return self.embed((x.expand(-1, 3, -1, -1) - self.mean) / self.deviation)
