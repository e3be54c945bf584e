"""Relation scores and losses, against hand-worked values and the published formula."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.relationnet import Relation, RelationNet
from metarun.backbones.conv4 import Conv4
from metarun.backbones.mlp import MLP
from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused
from metarun.tasks.task import Task
from tests.algorithms.learners import predict, spec, support_in_order, task_of
from tests.conftest import scores_of, tasks


class Maps(nn.Module):
    """Uses the input (1×4×4) as the feature maps, times a learnable factor."""

    features, maps = 16, (1, 4, 4)

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return (self.scale * x).flatten(1)


def by_hand(**options: object) -> tuple[RelationNet, Task]:
    """A module with one filter, in which only the centre of each kernel is not 0.

    Maps are constant: 1 and 2 (sum 3) for label 0, 4 and 2 (sum 6) for label 1, 4 for the query.
    The first convolution computes 5 + class − query, which is 4 and 7. The second is the identity.
    The linear layers compute 8 − 2·x, which is 0 and −6.
    """
    learner = RelationNet(Maps(), spec(2), filters=1, hidden=1, **options)
    relation = learner.relation
    with torch.no_grad():
        for p in learner.relation.parameters():
            p.zero_()
        relation.first.weight[0, :, 1, 1] = torch.tensor([1.0, -1.0])  # class, query
        relation.first.bias.fill_(5.0)
        convolution, hidden, last = relation.rest[3], relation.rest[8], relation.rest[10]
        convolution.weight[0, 0, 1, 1] = 1.0
        hidden.weight.fill_(1.0)
        last.weight.fill_(-2.0)
        last.bias.fill_(8.0)
        for layer in relation.modules():
            if isinstance(layer, BatchNorm):  # the identity for running averages 0 and 1
                layer.weight.fill_(math.sqrt(1 + layer.eps))
    levels = torch.tensor([1.0, 2.0, 4.0, 2.0]).view(4, 1, 1, 1).expand(4, 1, 4, 4)
    return learner, task_of(levels, [0, 0, 1, 1], torch.full((1, 1, 4, 4), 4.0), [0])


def test_scores_by_hand() -> None:
    learner, task = by_hand()
    for variant in (task, support_in_order(task, [2, 0, 3, 1])):
        torch.testing.assert_close(predict(learner, [variant]), torch.tensor([[[0.0, -6.0]]]))


@pytest.mark.parametrize(
    ("loss", "value"),
    [
        ("mse", ((1 / (1 + math.e)) ** 2 + (1 / (1 + math.e**2)) ** 2) / 2),
        ("cross_entropy", math.log(1 + math.exp(-3))),
    ],
)
def test_losses_by_hand(loss: str, value: float) -> None:
    """In training, both blocks normalise the two pairs, 4 and 7, to −1 and 1; ReLU gives 0 and 1.

    The linear layers compute 1 − 3·x, so the scores are 1 and −2.
    """
    learner, task = by_hand(loss=loss)
    with torch.no_grad():
        learner.relation.rest[10].weight.fill_(-3.0)
        learner.relation.rest[10].bias.fill_(1.0)
    scores = scores_of(learner, [task])
    assert scores["relation_loss"].tolist() == pytest.approx([value], rel=1e-3)
    assert scores["loss"].tolist() == pytest.approx([math.log(1 + math.exp(-3))], rel=1e-3)


def reference(
    net: Relation, padding: int, classes: Tensor, query: Tensor, training: bool
) -> Tensor:
    """g(C(f(xᵢ), f(xⱼ))) with the maps of each pair concatenated explicitly."""
    pairs = [torch.cat([c, q]) for q in query for c in classes]
    w = dict(net.named_parameters())
    buffers = dict(net.named_buffers())
    maps = torch.stack(pairs)
    for convolution, norm in (("first", "rest.0"), ("rest.3", "rest.4")):
        maps = F.conv2d(maps, w[f"{convolution}.weight"], w[f"{convolution}.bias"], padding=padding)
        if training:
            mean, var = maps.mean((0, 2, 3)), maps.var((0, 2, 3), unbiased=False)
        else:
            mean, var = buffers[f"{norm}.running_mean"], buffers[f"{norm}.running_var"]
        maps = (maps - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        maps = maps * w[f"{norm}.weight"][:, None, None] + w[f"{norm}.bias"][:, None, None]
        maps = F.max_pool2d(maps.relu(), 2)
    hidden = (maps.flatten(1) @ w["rest.8.weight"].t() + w["rest.8.bias"]).relu()
    scores = hidden @ w["rest.10.weight"].t() + w["rest.10.bias"]
    return scores.view(len(query), len(classes))


@pytest.mark.parametrize(("size", "padding"), [((4, 4), 1), ((7, 9), 1), ((10, 11), 0)])
@pytest.mark.parametrize("training", [True, False])
def test_the_module_agrees_with_the_published_formula(
    size: tuple[int, int], padding: int, training: bool
) -> None:
    """The sum of two convolutions equals the convolution of concatenated maps."""
    torch.manual_seed(0)
    net = Relation((3, *size), filters=5, hidden=4).double()
    net(torch.randn(2, 3, *size).double(), torch.randn(4, 3, *size).double())
    net.train(training)
    classes, query = torch.randn(3, 3, *size).double(), torch.randn(6, 3, *size).double()
    expected = reference(net, padding, classes, query, training)
    torch.testing.assert_close(net(classes, query), expected)


@pytest.mark.parametrize(("shape", "flat"), [((1, 28, 28), 64), ((3, 84, 84), 576)])
def test_published_sizes(shape: tuple[int, ...], flat: int) -> None:
    """H of section 3.4: the input size of the linear layers."""
    learner = RelationNet(Conv4(shape, pools=2), spec(5))
    assert learner.relation.rest[8].in_features == flat
    convolutions = (128 * 9 + 1) * 64 + (64 * 9 + 1) * 64
    linear = (flat + 1) * 8 + 9
    parameters = sum(p.numel() for p in learner.relation.parameters())
    assert parameters == convolutions + 2 * 128 + linear


def test_support_maps_of_a_class_are_summed() -> None:
    torch.manual_seed(0)
    learner, batch = RelationNet(Maps(), spec()).double(), maps(shots=2)
    summed = [
        task_of(task.support.x.unflatten(0, (3, 2)).sum(1), [0, 1, 2], task.query.x, task.query.y)
        for task in batch
    ]
    torch.testing.assert_close(predict(learner, batch), predict(learner, summed))


def maps(count: int = 2, **options: object) -> list[Task]:
    return tasks(count, shape=(1, 4, 4), dtype=torch.float64, **options)


def test_the_gradient_is_the_gradient_of_the_mean_squared_error() -> None:
    torch.manual_seed(0)
    learner, (task,) = RelationNet(Maps(), spec(), filters=4).double(), maps(1)
    scores_of(learner, [task])
    gradients = [p.grad.clone() for p in learner.parameters()]
    scale = learner.backbone.scale
    classes = (scale * task.support.x).unflatten(0, (3, 2)).sum(1)
    scores = reference(learner.relation, 1, classes, scale * task.query.x, training=True)
    targets = (torch.arange(3) == task.query.y.unsqueeze(1)).double()
    (scores.sigmoid() - targets).square().mean().backward(inputs=list(learner.parameters()))
    for g, p in zip(gradients, learner.parameters(), strict=True):
        torch.testing.assert_close(g, p.grad - g)  # backward adds to the existing gradient


def test_transductive_batch_norm_uses_statistics_of_the_pairs_of_a_task() -> None:
    torch.manual_seed(0)
    learner, batch = RelationNet(Maps(), spec(), batch_norm="transductive").double(), maps()
    for task, actual in zip(batch, predict(learner, batch), strict=True):
        classes = task.support.x.unflatten(0, (3, 2)).sum(1)
        expected = reference(learner.relation, 1, classes, task.query.x, training=True)
        torch.testing.assert_close(actual, expected)


def test_any_number_of_ways() -> None:
    learner = RelationNet(Conv4((1, 28, 28), filters=4, pools=2), spec(), filters=4)
    assert predict(learner, tasks(ways=7)).shape == (2, 28, 7)


@pytest.mark.parametrize(
    ("backbone", "actual"),
    [
        (MLP((6,)), "a vector"),
        (Conv4((1, 28, 28), readout="mean"), "a vector"),
        (Conv4((1, 28, 28)), "maps of 1×1"),
    ],
)
def test_backbone_without_maps_is_refused(backbone: nn.Module, actual: str) -> None:
    message = f"^backbone: .*{actual}; for pictures, backbone=conv4_maps"
    with pytest.raises(Refused, match=message) as refused:
        RelationNet(backbone, spec(5))
    assert len(refused.value.mistakes) == 1
