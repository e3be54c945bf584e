"""Prototypes, distances and the loss, against a case worked by hand and direct formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metarun.algorithms import Task
from metarun.algorithms.protonet import ProtoNet, prototypes, similarity
from metarun.backbones.conv4 import Conv4
from metarun.tasks.sampler import Episodes
from tests.conftest import episodes


class Identity(nn.Module):
    """Embeds a vector as itself, times a learnable 1."""

    def __init__(self, features: int = 2) -> None:
        super().__init__()
        self.features = features
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


def by_hand() -> Episodes:
    """Two ways, two shots in the plane: prototypes (1, 0) and (0, 3); one query at (1, 1)."""
    return Episodes(
        support_x=torch.tensor([[[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 4.0]]]),
        support_y=torch.tensor([[0, 0, 1, 1]]),
        query_x=torch.tensor([[[1.0, 1.0]]]),
        query_y=torch.tensor([[0]]),
    )


def test_prototypes_are_class_means_whatever_the_order() -> None:
    e = by_hand()
    expected = torch.tensor([[[1.0, 0.0], [0.0, 3.0]]])
    assert torch.equal(prototypes(e.support_x, e.support_y, 2), expected)
    order = torch.tensor([3, 0, 2, 1])
    shuffled = prototypes(e.support_x[:, order], e.support_y[:, order], 2)
    assert torch.equal(shuffled, expected)


@pytest.mark.parametrize(
    ("distance", "logits"),
    [
        ("squared_euclidean", (-1.0, -5.0)),
        ("euclidean", (-1.0, -math.sqrt(5))),
        ("cosine", (10 / math.sqrt(2), 10 / math.sqrt(2))),  # temperature 0.1
    ],
)
def test_logits_and_loss_of_the_case_by_hand(distance: str, logits: tuple[float, float]) -> None:
    e = by_hand()
    learner = ProtoNet(Identity(), Task(2), distance=distance)
    found = learner.predict(e.support_x, e.support_y, e.query_x)
    torch.testing.assert_close(found, torch.tensor([[logits]]))
    loss = math.log(1 + math.exp(logits[1] - logits[0]))
    scores = learner.accumulate(e)
    assert scores["loss"].item() == pytest.approx(loss, rel=1e-5)


def test_the_gradient_of_the_case_by_hand() -> None:
    """Scaling the plane by s makes the logits −s² and −5s²: d loss/ds = −8·p₁ at s = 1."""
    learner = ProtoNet(Identity(), Task(2))
    learner.accumulate(by_hand())
    p1 = 1 / (1 + math.exp(4))
    assert learner.backbone.scale.grad.item() == pytest.approx(-8 * p1, rel=1e-5)


def test_squared_and_plain_distance_agree_on_the_nearest_but_not_on_the_loss() -> None:
    z, centres = torch.randn(2, 30, 5), torch.randn(2, 4, 5)
    squared = similarity(z, centres, "squared_euclidean")
    plain = similarity(z, centres, "euclidean")
    torch.testing.assert_close(squared, -torch.cdist(z, centres).square())
    torch.testing.assert_close(plain, -torch.cdist(z, centres))
    assert torch.equal(squared.argmax(-1), plain.argmax(-1))
    assert not torch.allclose(squared.softmax(-1), plain.softmax(-1), atol=0.01)


def test_a_query_on_its_prototype_has_a_finite_gradient() -> None:
    e = by_hand()
    e.query_x[:] = torch.tensor([1.0, 0.0])
    learner = ProtoNet(Identity(), Task(2), distance="euclidean")
    learner.accumulate(e)
    assert learner.backbone.scale.grad.isfinite()


def test_temperature_divides_the_logits() -> None:
    e = by_hand()
    warm = ProtoNet(Identity(), Task(2), temperature=4.0).predict(
        e.support_x, e.support_y, e.query_x
    )
    torch.testing.assert_close(warm, torch.tensor([[[-0.25, -1.25]]]))


def test_evaluation_ways_need_not_be_those_of_training() -> None:
    e = episodes(ways=7)
    learner = ProtoNet(Conv4((1, 28, 28), filters=4), task=Task(3))
    assert learner.predict(e.support_x, e.support_y, e.query_x).shape == (2, 28, 7)


def test_running_averages_follow_training_and_rest_in_evaluation() -> None:
    learner = ProtoNet(Conv4((1, 28, 28), filters=4), Task(3))
    norm = learner.backbone.blocks[1]
    learner.accumulate(episodes())
    trained = norm.running_mean.clone()
    assert trained.abs().sum() > 0
    e = episodes(seed=1)
    learner.predict(e.support_x, e.support_y, e.query_x)
    assert torch.equal(norm.running_mean, trained)


def test_a_learned_temperature_starts_as_given_and_gets_its_gradient() -> None:
    """At temperature τ the loss is log(1 + exp(−4/τ)): d loss/d log τ = p₁·4/τ."""
    e = by_hand()
    learner = ProtoNet(Identity(), Task(2), temperature=2.0, learn_temperature=True)
    found = learner.predict(e.support_x, e.support_y, e.query_x)
    torch.testing.assert_close(found, torch.tensor([[[-0.5, -2.5]]]))
    learner.accumulate(e)
    p1 = 1 / (1 + math.exp(2))
    assert learner.log_temperature.grad.item() == pytest.approx(2 * p1, rel=1e-5)
    with torch.no_grad():
        learner.log_temperature.fill_(-5.0)
    assert learner.temperature > 0


def test_a_fixed_temperature_is_no_parameter() -> None:
    assert list(ProtoNet(Identity(), Task(2)).state_dict()) == ["backbone.scale"]


def test_transductive_queries_are_normalised_by_themselves_and_support_by_itself() -> None:
    torch.manual_seed(0)
    net = Conv4((1, 28, 28), filters=4).double()
    e = episodes(tasks=1, dtype=torch.float64)
    learner = ProtoNet(net, Task(3), batch_norm="transductive")
    found = learner.predict(e.support_x, e.support_y, e.query_x)
    net.train()
    z, centres = net(e.query_x[0]), net(e.support_x[0]).unflatten(0, (3, 2)).mean(1)
    torch.testing.assert_close(found[0], -torch.cdist(z, centres).square())
