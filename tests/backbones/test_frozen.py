"""A frozen network: the features of its evaluation mode, computed once for each item."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from metarun.backbones.conv4 import Conv4
from metarun.backbones.frozen import Frozen, forgetting


class Counting(nn.Module):
    """Twice its input; counts the items that it has seen."""

    features = 3

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        assert len(x), "some networks cannot take a batch of no items"
        self.seen += len(x)
        return self.scale * x


def test_features_are_those_of_evaluation_mode_without_gradients() -> None:
    net = Conv4((1, 16, 16), filters=4)
    net(torch.rand(20, 1, 16, 16))  # running averages
    x = torch.rand(6, 1, 16, 16)
    expected = copy.deepcopy(net).eval()(x)
    frozen = Frozen(net).train()
    features = frozen(x)
    torch.testing.assert_close(features, expected)
    assert not features.requires_grad
    assert not any(p.requires_grad for p in frozen.parameters())
    assert (frozen.features, frozen.maps) == (net.features, net.maps)


def test_an_item_is_computed_once() -> None:
    frozen, x = Frozen(Counting()), torch.rand(100, 3)
    assert torch.equal(frozen(x), 2 * x)
    order = torch.randperm(100)
    assert torch.equal(frozen(torch.cat([x[order], x[:5]])), 2 * torch.cat([x[order], x[:5]]))
    assert frozen.net.seen == 100
    assert torch.equal(frozen(torch.cat([x[:1], x[:1] + 1])), 2 * torch.cat([x[:1], x[:1] + 1]))
    assert frozen.net.seen == 101


def test_a_remembered_feature_cannot_be_changed_from_outside() -> None:
    frozen, x = Frozen(Counting()), torch.rand(2, 3)
    frozen(x).zero_()
    assert torch.equal(frozen(x), 2 * x)


def test_other_weights_and_another_precision_forget_the_features() -> None:
    frozen, x = Frozen(Counting()), torch.rand(2, 3)
    frozen(x)
    frozen.load_state_dict({"net.scale": torch.tensor(5.0)})
    assert torch.equal(frozen(x), 5 * x)
    assert frozen.double()(x.double()).dtype == torch.float64


def test_the_shape_is_known_without_content() -> None:
    assert Frozen(Counting())(torch.empty(7, 3, device="meta")).shape == (7, 3)


def test_new_items_are_forgotten_where_memory_should_not_grow() -> None:
    frozen, items = Frozen(net := Counting()), torch.arange(12.0).view(4, 3)
    learner = nn.Sequential(frozen)
    learner(items[:2])
    with forgetting(learner):
        assert torch.equal(learner(items), 2 * items)
        assert net.seen == 4  # the first two are known
        learner(items)
        assert net.seen == 6
    learner(items)
    learner(items)
    assert net.seen == 8
