"""ResNet-12, the standard residual network in few-shot learning."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused

Widths = Annotated[list[PositiveInt], Field(min_length=4, max_length=4)]


class Block(nn.Module):
    """Residual block: three normalised 3×3 convolutions, a 1×1 shortcut and 2×2 max-pooling."""

    def __init__(self, channels: int, filters: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, width in enumerate((channels, filters, filters)):
            layers += [nn.LeakyReLU(0.1)] if i else []
            layers += [nn.Conv2d(width, filters, 3, padding=1, bias=False), BatchNorm(filters)]
        self.path = nn.Sequential(*layers)
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels, filters, 1, bias=False), BatchNorm(filters)
        )
        self.end = nn.Sequential(nn.LeakyReLU(0.1), nn.MaxPool2d(2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, filters, H/2, W/2), rounded down."""
        return self.end(self.path(x) + self.shortcut(x))


class ResNet12(nn.Module):
    """Four residual blocks of three convolutions (Oreshkin et al. 2018, section 4.1).

    The default widths and LeakyReLU 0.1 are those of Lee et al. 2019 (MetaOptNet, section 4.1):
    12,424,320 parameters for colour images. `filters: [64, 128, 256, 512]` are Oreshkin's
    (TADAM): 7,996,800. Convolutions have no bias, because normalisation follows each. Their weights
    are initialised as in He et al. 2015, with fan-out. Dropout and DropBlock are left out.

    Args:
        shape: (C, H, W) of one item.
        filters: channels of each of the four blocks.
        readout: average the feature maps over positions (Oreshkin), or flatten them (Lee).

    Attributes:
        features: length of the feature vector.
        maps: shape (C, H, W) of the feature maps; `None` for `readout: mean`.

    Raises:
        Refused: if items are not images or are smaller than 16×16.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        filters: Widths = [64, 160, 320, 640],  # noqa: B006 (read only)
        readout: Literal["mean", "flatten"] = "mean",
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise Refused(
                f"backbone: ResNet12 takes pictures (C, H, W), the data has {shape}; "
                "backbone=mlp takes any shape, backbone=ngrams takes sentences"
            )
        if min(shape[1:]) < 16:
            raise Refused(
                f"backbone=resnet12: pictures of {shape[1]}×{shape[2]} are too small for four "
                "poolings (16×16 at least)"
            )
        widths = [shape[0], *filters]
        self.blocks = nn.Sequential(*(Block(a, b) for a, b in zip(widths, filters, strict=False)))
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, a=0.1, mode="fan_out")
        maps = (filters[-1], shape[1] // 16, shape[2] // 16)
        self.readout, self.maps = readout, maps if readout == "flatten" else None
        self.features = math.prod(maps) if readout == "flatten" else filters[-1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, features)."""
        maps = self.blocks(x)
        return maps.mean((2, 3)) if self.readout == "mean" else maps.flatten(1)
