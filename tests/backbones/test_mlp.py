"""MLP: sizes and outputs."""

from __future__ import annotations

from itertools import pairwise

import torch

from metarun.backbones.mlp import MLP


def test_default_is_the_omniglot_network_of_finn_et_al() -> None:
    net = MLP((1, 28, 28))
    assert net.features == 64
    assert net(torch.rand(3, 1, 28, 28)).shape == (3, 64)
    widths = [784, 256, 128, 64, 64]
    linear = sum(a * b + b for a, b in pairwise(widths))
    assert sum(p.numel() for p in net.parameters()) == linear + 2 * sum(widths[1:])


def test_layer_without_batch_norm() -> None:
    net = MLP((5,), hidden=[7], batch_norm=False)
    x = torch.rand(1, 5)
    layer = net.layers[1]
    torch.testing.assert_close(net(x), (x @ layer.weight.T + layer.bias).relu())


def test_without_layers_features_are_the_flattened_input() -> None:
    net = MLP((2, 3), hidden=[])
    assert net.features == 6
    assert net(torch.ones(4, 2, 3)).shape == (4, 6)
