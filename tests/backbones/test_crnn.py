"""CRNN: four blocks and PyTorch's recurrent layer over time."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.backbones.crnn import CRNN
from metarun.errors import Refused


@pytest.mark.parametrize(
    ("shape", "pools", "steps"),
    [((1, 128, 157), [3, 3], 2), ((1, 128, 31), [3, 2], 2), ((2, 40, 16), [2, 1], 16)],
)
def test_it_is_convolutions_and_an_elman_network(shape, pools, steps) -> None:
    torch.manual_seed(0)
    net = CRNN(shape, filters=6, pools=pools).double().eval()
    x = torch.randn(3, *shape, dtype=torch.float64)
    maps, parameters = x, list(net.blocks.parameters())
    for block in range(4):
        weight, bias, scale, shift = parameters[4 * block : 4 * block + 4]
        maps = F.conv2d(maps, weight, bias, padding=1)
        still = torch.zeros(6, dtype=x.dtype), torch.ones(6, dtype=x.dtype)
        maps = F.batch_norm(maps, *still, scale, shift).relu()
        maps = F.max_pool2d(maps, pools, ceil_mode=True)
    sequence = maps.mean(2).movedim(2, 1)  # (items, time, filters)
    assert sequence.shape[1] == steps
    layer = nn.RNN(6, 6, batch_first=True).double()
    linear = {"ih": net.of_input, "hh": net.of_state}
    layer.load_state_dict(
        {f"{k}_{name}_l0": v for name, x in linear.items() for k, v in x.state_dict().items()}
    )
    outputs, _ = layer(sequence)
    torch.testing.assert_close(net(x), outputs[:, -1] + sequence[:, -1])
    assert (net.features, net.maps) == (6, None)


def test_parameters_are_those_of_conv4_and_of_a_recurrent_layer() -> None:
    net = CRNN((1, 128, 31))
    assert sum(p.numel() for p in net.parameters()) == 111_936 + 2 * 64 * 65


def test_second_derivatives_exist() -> None:
    net = CRNN((1, 16, 8), filters=3, pools=[2, 1]).double()
    x = torch.randn(2, 1, 16, 8, dtype=torch.float64, requires_grad=True)
    weight = net.of_state.weight
    (first,) = torch.autograd.grad(net(x).square().sum(), weight, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), net.blocks[0].weight)
    assert second.isfinite().all() and second.any()


def test_other_items_than_spectrograms_are_refused() -> None:
    with pytest.raises(Refused, match="takes spectrograms"):
        CRNN((30,))
