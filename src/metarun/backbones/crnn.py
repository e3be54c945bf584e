"""Convolutions and a recurrent layer, for spectrograms."""

from __future__ import annotations

from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused

Pools = Annotated[list[PositiveInt], Field(min_length=2, max_length=2)]


class CRNN(nn.Module):
    """Four blocks of convolution and pooling, then a recurrent layer over time.

    As in MetaAudio (Heggan et al. 2022): blocks of 3×3 convolution, batch normalisation, ReLU and
    max-pooling, an Elman network with tanh, and the sum of its last state and last input. Three
    things differ: pooling rounds sizes up, so that short clips keep a position; the mean over the
    frequencies that are left is the input of the recurrent layer; and the network ends there,
    without dropout and linear layer.

    The recurrent layer is written out, so that it has second derivatives on every device, also
    under `torch.func.vmap`.

    Args:
        shape: (C, H, W) of one item: channels, frequencies, time.
        filters: channels of each block and size of the recurrent layer.
        pools: factors of each pooling, in frequency and in time. For clips of less than 2.6 s,
            MetaAudio has `[3, 2]`, and `[3, 3]` for others.

    Attributes:
        features: length of the feature vector, `filters`.
        maps: `None`: there are no feature maps.

    Raises:
        Refused: items are not of this form.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        filters: PositiveInt = 64,
        pools: Pools = (3, 2),
    ) -> None:
        super().__init__()
        if len(shape) != 3:
            raise Refused(
                f"backbone: CRNN takes spectrograms (C, H, W), the data has {shape}; "
                "backbone=mlp takes any shape, backbone=ngrams takes sentences"
            )
        blocks: list[nn.Module] = []
        for channels in (shape[0], *[filters] * 3):
            blocks += [
                nn.Conv2d(channels, filters, 3, padding=1),
                BatchNorm(filters),
                nn.MaxPool2d(tuple(pools), ceil_mode=True),  # before the ReLU: faster
                nn.ReLU(),
            ]
        self.blocks = nn.Sequential(*blocks)
        self.of_input, self.of_state = nn.Linear(filters, filters), nn.Linear(filters, filters)
        self.features, self.maps = filters, None

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) → (B, features)."""
        steps = self.blocks(x).mean(2).mT  # (B, time, filters)
        state = torch.zeros_like(steps[:, 0])
        for step in self.of_input(steps).unbind(1):
            state = torch.tanh(step + self.of_state(state))
        return state + steps[:, -1]
