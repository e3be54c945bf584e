"""ResNet-12: published sizes, shapes, and training with two learners."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metarun import CLASSIFICATION, Learner, Spec
from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.norm import BatchNorm
from metarun.backbones.resnet12 import Block, ResNet12
from metarun.config.compose import compose, plain
from metarun.config.instantiate import blueprint
from metarun.errors import Refused
from tests.conftest import scores_of, tasks

SMALL = [4, 6, 8, 10]


@pytest.mark.parametrize(
    ("options", "parameters"),
    [
        ({}, 12_424_320),  # "12.4M"; counted in the code of MetaOptNet
        ({"filters": [64, 128, 256, 512]}, 7_996_800),  # "8.0M"
    ],
)
def test_published_sizes(options: dict, parameters: int) -> None:
    with torch.device("meta"):
        net = ResNet12((3, 84, 84), **options)
    assert sum(p.numel() for p in net.parameters()) == parameters
    assert sum(isinstance(m, nn.Conv2d) and m.kernel_size == (3, 3) for m in net.modules()) == 12


@pytest.mark.parametrize(
    ("shape", "readout", "features"),
    [
        ((3, 84, 84), "mean", 10),
        ((3, 84, 84), "flatten", 10 * 5 * 5),
        ((3, 32, 32), "flatten", 10 * 2 * 2),
        ((1, 28, 28), "mean", 10),
        ((1, 28, 28), "flatten", 10),
        ((2, 16, 50), "flatten", 10 * 1 * 3),
    ],
)
def test_shapes(shape: tuple[int, ...], readout: str, features: int) -> None:
    net = ResNet12(shape, filters=SMALL, readout=readout)
    assert net.features == features
    assert net(torch.rand(2, *shape)).shape == (2, features)
    assert net.maps is None if readout == "mean" else math.prod(net.maps) == features


def test_the_default_has_640_features() -> None:
    with torch.device("meta"):
        assert ResNet12((3, 84, 84)).features == 640
        assert ResNet12((3, 84, 84), readout="flatten").features == 16_000  # MetaOptNet's


def test_a_block_adds_its_shortcut_before_the_last_activation() -> None:
    """If the path outputs 0, the block is max-pool(LeakyReLU(norm(1×1 convolution)))."""
    block = Block(2, 3).eval()
    nn.init.zeros_(block.path[-1].weight)
    x = torch.randn(2, 2, 5, 4)
    kernel = block.shortcut[0].weight[:, :, 0, 0]
    linear = torch.einsum("oc,bchw->bohw", kernel, x) / (1 + 1e-5) ** 0.5
    leaky = torch.where(linear > 0, linear, 0.1 * linear)
    pooled = leaky[..., :4, :].unflatten(2, (2, 2)).unflatten(4, (2, 2)).amax((3, 5))
    torch.testing.assert_close(block(x), pooled)


def test_all_normalisation_layers_have_selectable_statistics() -> None:
    """A plain BatchNorm2d would carry running averages from task to task."""
    net = ResNet12((1, 28, 28), filters=SMALL)
    layers = [m for m in net.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert len(layers) == 16
    assert all(isinstance(m, BatchNorm) for m in layers)


@pytest.mark.parametrize("learner", [ProtoNet, MAML])
def test_a_training_step_reaches_every_weight_and_lowers_the_loss(learner: type[Learner]) -> None:
    torch.manual_seed(0)
    model = learner(ResNet12((1, 28, 28), filters=SMALL), Spec((1, 28, 28), 3, CLASSIFICATION))
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    batch, losses = tasks(), []
    for _ in range(8):
        optimizer.zero_grad()
        losses.append(scores_of(model, batch)["loss"].mean().item())
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())
        optimizer.step()
    assert losses[-1] < 0.8 * losses[0]


def test_unsuitable_items_and_filters_are_refused() -> None:
    with pytest.raises(Refused, match=r"12×20 are too small"):
        ResNet12((1, 12, 20))
    with pytest.raises(Refused, match=r"^backbone: .*pictures .*; backbone=mlp takes"):
        ResNet12((12,))
    node = plain(compose(["backbone=resnet12", "backbone.filters=[64,128]"]))["backbone"]
    with pytest.raises(Refused, match=r"backbone.filters=.*at least 4 items"):
        blueprint("backbone", node)
