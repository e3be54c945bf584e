"""The four-block convolutional network of the few-shot literature, in its published variants."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import PositiveInt
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused


class MeanOfPositions(nn.Module):
    """(B, C, H, W) → (B, C)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class Conv4(nn.Module):
    """Four blocks of 3×3 convolution, batch normalisation, ReLU and downsampling by 2.

    - `downsample: max_pool`, `readout: flatten` (Vinyals et al. 2016, section 4.1; Snell et al.
      2017, section 3): 28×28 → 64 features, 84×84 → 1,600.
    - `downsample: stride`, `readout: mean` (Finn et al. 2017, section 5.2): strided convolutions,
      then the mean over positions: 64 features for any image size.
    - `pools: 2` (Sung et al. 2018, section 3.4): only the first two blocks downsample, so the
      feature maps keep spatial information: 28×28 → maps of 7×7.

    Args:
        shape: (C, H, W) of one item.
        filters: channels of each block.
        downsample: `max_pool`, 2×2 max-pooling, which rounds sizes down; `max_pool_ceil`, which
            rounds them up, as padding `SAME` of TensorFlow does (Nichol et al. 2018: 84×84 → 1,152
            features of 32 filters); `stride`, convolutions of stride 2, which round them up.
        pools: number of blocks that downsample, starting with the first.
        readout: flatten the feature maps, or average them over positions.

    Attributes:
        features: length of the feature vector.
        maps: shape (C, H, W) of the feature maps; `None` for `readout: mean`.

    Raises:
        Refused: if items are not images or are too small for `pools` poolings.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        filters: PositiveInt = 64,
        downsample: Literal["max_pool", "max_pool_ceil", "stride"] = "max_pool",
        pools: Literal[0, 1, 2, 3, 4] = 4,
        readout: Literal["flatten", "mean"] = "flatten",
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise Refused(
                f"backbone: Conv4 takes pictures (C, H, W), the data has {shape}; "
                "backbone=mlp takes any shape, backbone=ngrams takes sentences"
            )
        channels, *size = shape
        blocks: list[nn.Module] = []
        for block in range(4):
            downsamples = block < pools
            strided = downsamples and downsample == "stride"
            blocks += [
                nn.Conv2d(channels, filters, 3, stride=2 if strided else 1, padding=1),
                BatchNorm(filters),
            ]
            rounds_up = downsample != "max_pool"
            if downsamples and not strided:  # before the ReLU: the same result, but faster
                blocks.append(nn.MaxPool2d(2, ceil_mode=rounds_up))
            blocks.append(nn.ReLU())
            if downsamples:
                size = [(n + rounds_up) // 2 for n in size]
            channels = filters
        if min(size) < 1:
            least = 2**pools
            raise Refused(
                f"backbone.downsample=max_pool: pictures of {shape[1]}×{shape[2]} are too small "
                f"for {pools} poolings ({least}×{least} at least); backbone.downsample=stride "
                "takes any size"
            )
        self.blocks = nn.Sequential(*blocks)
        self.readout = MeanOfPositions() if readout == "mean" else nn.Flatten()
        self.maps = None if readout == "mean" else (filters, *size)
        self.features = filters if self.maps is None else math.prod(self.maps)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, features)."""
        return self.readout(self.blocks(x))
