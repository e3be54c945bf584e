"""The four-block convolutional network of the few-shot papers, in its two published forms."""

from __future__ import annotations

from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused


class Conv4(nn.Module):
    """Four blocks of 3×3 convolution, batch normalisation and ReLU, each halving the picture.

    - `downsample: max_pool`, `readout: flatten` (Vinyals et al. 2016, section 4.1; Snell et al.
      2017, section 3): 28×28 → 64 features, 84×84 → 1,600.
    - `downsample: stride`, `readout: mean` (Finn et al. 2017, section 5.2): strided convolutions
      and the mean over the positions that are left: 64 features at any size.

    Args:
        shape: (C, H, W) of one item.
        filters: channels of each block.
        downsample: max-pool after each block, rounding down, or stride 2, rounding up.
        readout: all positions side by side, or their mean.

    Raises:
        Refused: the picture is too small to be halved four times.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        filters: PositiveInt = 64,
        downsample: Literal["max_pool", "stride"] = "max_pool",
        readout: Literal["flatten", "mean"] = "flatten",
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise Refused(f"backbone: Conv4 takes pictures (C, H, W), the data has {shape}")
        channels, *size = shape
        strided = downsample == "stride"
        blocks: list[nn.Module] = []
        for _ in range(4):
            blocks += [
                nn.Conv2d(channels, filters, 3, stride=2 if strided else 1, padding=1),
                BatchNorm(filters),
                nn.ReLU(),
            ]
            if not strided:
                blocks.append(nn.MaxPool2d(2))
            channels, size = filters, [(n + 1) // 2 if strided else n // 2 for n in size]
        if min(size) < 1:
            raise Refused(
                f"backbone.downsample=max_pool: pictures of {shape[1]}×{shape[2]} are too small "
                "for four poolings (16×16 at least); backbone.downsample=stride takes any size"
            )
        self.blocks = nn.Sequential(*blocks)
        self.readout = readout
        self.features = filters if readout == "mean" else filters * size[0] * size[1]

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, features)."""
        maps = self.blocks(x)
        return maps.mean((2, 3)) if self.readout == "mean" else maps.flatten(1)
