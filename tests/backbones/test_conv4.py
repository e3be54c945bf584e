"""Conv4: shapes, parameter counts and the order of layers in the published variants."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from metarun.backbones.conv4 import Conv4
from metarun.errors import Refused


@pytest.mark.parametrize(
    ("shape", "options", "features", "parameters"),
    [
        ((1, 28, 28), {}, 64, 111_936),  # Snell et al. 2017, Omniglot
        ((3, 84, 84), {}, 1600, 113_088),  # the same, miniImageNet
        ((3, 84, 84), {"filters": 32}, 800, 28_896),  # Finn et al. 2017, miniImageNet
        ((1, 28, 28), {"downsample": "stride", "readout": "mean"}, 64, 111_936),  # … Omniglot
        ((1, 28, 28), {"downsample": "stride"}, 256, 111_936),  # Nichol et al. 2018, Omniglot
        ((3, 84, 84), {"filters": 32, "downsample": "max_pool_ceil"}, 1152, 28_896),  # … mini
        ((2, 50, 31), {"downsample": "stride", "readout": "flatten"}, 64 * 4 * 2, 112_512),
        ((1, 28, 28), {"pools": 2}, 64 * 7 * 7, 111_936),  # Sung et al. 2018, Omniglot
        ((3, 84, 84), {"pools": 2}, 64 * 21 * 21, 113_088),  # the same, miniImageNet
        ((1, 9, 9), {"pools": 1, "downsample": "stride", "filters": 2}, 2 * 5 * 5, 150),
    ],
)
def test_feature_and_parameter_counts(
    shape: tuple[int, ...], options: dict, features: int, parameters: int
) -> None:
    net = Conv4(shape, **options)
    assert net.features == features
    assert net(torch.rand(2, *shape)).shape == (2, features)
    assert sum(p.numel() for p in net.parameters()) == parameters


def test_features_are_flattened_maps() -> None:
    net = Conv4((1, 30, 22), filters=3, pools=2).eval()
    x = torch.rand(2, 1, 30, 22)
    assert net.maps == (3, 7, 5)
    torch.testing.assert_close(net(x).unflatten(1, net.maps), net.blocks(x))
    assert Conv4((1, 28, 28), readout="mean").maps is None


@pytest.mark.parametrize("pools", [2, 4])
def test_blocks_are_convolution_normalisation_relu_and_pooling(pools: int) -> None:
    """Pooling before the ReLU gives the same outputs and gradients as the published order."""
    torch.manual_seed(0)
    net = Conv4((1, 28, 28), filters=5, pools=pools).double()
    x = torch.randn(6, 1, 28, 28, dtype=torch.float64)
    net(x).square().sum().backward()
    gradients = [p.grad.clone() for p in net.parameters()]
    net.zero_grad()
    maps, parameters = x, list(net.parameters())
    for block in range(4):
        weight, bias, scale, shift = parameters[4 * block : 4 * block + 4]
        maps = F.conv2d(maps, weight, bias, padding=1)
        maps = F.batch_norm(maps, None, None, scale, shift, training=True).relu()
        if block < pools:
            maps = F.max_pool2d(maps, 2)
    torch.testing.assert_close(net(x), maps.flatten(1))
    maps.square().sum().backward()
    for gradient, p in zip(gradients, parameters, strict=True):
        torch.testing.assert_close(gradient, p.grad)


def test_pooling_that_rounds_up_pads_at_the_end_with_the_least_value() -> None:
    net = Conv4((1, 21, 10), filters=2, pools=1, downsample="max_pool_ceil").eval()
    x = torch.randn(3, 1, 21, 10)
    padded = F.pad(net.blocks[1](net.blocks[0](x)), (0, 0, 0, 1), value=-torch.inf)
    expected = net.blocks[3:](F.max_pool2d(padded, 2))
    torch.testing.assert_close(net(x), expected.flatten(1))


def test_parameter_names_do_not_change() -> None:
    """Checkpoints contain them."""
    layers = {name.rsplit(".", 1)[0] for name, _ in Conv4((1, 28, 28)).named_parameters()}
    assert layers == {f"blocks.{i}" for i in (0, 1, 4, 5, 8, 9, 12, 13)}
    strided = Conv4((1, 28, 28), downsample="stride")
    layers = {name.rsplit(".", 1)[0] for name, _ in strided.named_parameters()}
    assert layers == {f"blocks.{i}" for i in (0, 1, 3, 4, 6, 7, 9, 10)}


def test_images_too_small_for_pooling_are_refused() -> None:
    with pytest.raises(Refused, match=r"12×12.*downsample=stride"):
        Conv4((1, 12, 12))
    assert Conv4((1, 12, 12), downsample="stride").features == 64
    assert Conv4((1, 12, 12), pools=3).features == 64


def test_items_that_are_not_images_are_refused() -> None:
    with pytest.raises(Refused, match=r"backbone: .*pictures"):
        Conv4((12,))
