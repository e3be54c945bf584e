"""The two published forms, by their shapes and parameter counts."""

from __future__ import annotations

import pytest
import torch

from metarun.backbones.conv4 import Conv4
from metarun.errors import Refused


@pytest.mark.parametrize(
    ("shape", "options", "features", "parameters"),
    [
        ((1, 28, 28), {}, 64, 111_936),  # Snell et al. 2017, Omniglot
        ((3, 84, 84), {}, 1600, 113_088),  # the same, miniImageNet
        ((3, 84, 84), {"filters": 32}, 800, 28_896),  # Finn et al. 2017, miniImageNet
        ((1, 28, 28), {"downsample": "stride", "readout": "mean"}, 64, 111_936),  # … Omniglot
        ((2, 50, 31), {"downsample": "stride", "readout": "flatten"}, 64 * 4 * 2, 112_512),
    ],
)
def test_shapes_and_sizes(
    shape: tuple[int, ...], options: dict, features: int, parameters: int
) -> None:
    net = Conv4(shape, **options)
    assert net.features == features
    assert net(torch.rand(2, *shape)).shape == (2, features)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_a_picture_too_small_to_pool_is_refused_with_the_way_out() -> None:
    with pytest.raises(Refused, match=r"12×12.*downsample=stride"):
        Conv4((1, 12, 12))
    assert Conv4((1, 12, 12), downsample="stride").features == 64


def test_what_is_not_a_picture_is_refused() -> None:
    with pytest.raises(Refused, match=r"backbone: .*pictures"):
        Conv4((12,))
