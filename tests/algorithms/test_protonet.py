"""Prototypes, distances and loss, against hand-worked values and direct formulas."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from metarun.algorithms.protonet import ProtoNet, prototypes, similarity
from metarun.backbones.conv4 import Conv4
from metarun.tasks.task import Task
from metarun.training.gradient import adapt
from tests.algorithms.gradients import gradient
from tests.algorithms.learners import predict, ragged, spec, support_in_order, task_of
from tests.conftest import scores_of, tasks


class Identity(nn.Module):
    """Identity times a learnable factor, initially 1."""

    def __init__(self, features: int = 2) -> None:
        super().__init__()
        self.features = features
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


def by_hand(query: tuple[float, float] = (1.0, 1.0)) -> Task:
    """Two ways, two shots in the plane: prototypes (1, 0) and (0, 3); one query."""
    support = torch.tensor([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [0.0, 4.0]])
    return task_of(support, [0, 0, 1, 1], torch.tensor([query]), [0])


def test_prototypes_are_class_means_in_any_order() -> None:
    expected = torch.tensor([[1.0, 0.0], [0.0, 3.0]])
    for order in ([0, 1, 2, 3], [3, 0, 2, 1]):
        support = support_in_order(by_hand(), order).support
        assert torch.equal(prototypes(support.x, support.y, 2), expected)


@pytest.mark.parametrize(
    ("distance", "logits"),
    [
        ("squared_euclidean", (-1.0, -5.0)),
        ("euclidean", (-1.0, -math.sqrt(5))),
        ("cosine", (10 / math.sqrt(2), 10 / math.sqrt(2))),  # temperature 0.1
    ],
)
def test_logits_and_loss_by_hand(distance: str, logits: tuple[float, float]) -> None:
    learner = ProtoNet(Identity(), spec(2), distance=distance)
    actual = predict(learner, [by_hand()])
    torch.testing.assert_close(actual, torch.tensor([[logits]]))
    loss = math.log(1 + math.exp(logits[1] - logits[0]))
    scores = scores_of(learner.train(), [by_hand()])
    assert scores["loss"].item() == pytest.approx(loss, rel=1e-5)


def test_gradient_by_hand() -> None:
    """With scale s the logits are −s² and −5s², so d loss/ds = −8·p₁ at s = 1."""
    learner = ProtoNet(Identity(), spec(2))
    scores_of(learner, [by_hand()])
    p1 = 1 / (1 + math.exp(4))
    assert learner.backbone.scale.grad.item() == pytest.approx(-8 * p1, rel=1e-5)


def test_squared_distance_has_the_same_arg_max_as_plain_distance_but_another_loss() -> None:
    z, centres = torch.randn(30, 5), torch.randn(4, 5)
    squared = similarity(z, centres, "squared_euclidean")
    plain = similarity(z, centres, "euclidean")
    torch.testing.assert_close(squared, -torch.cdist(z, centres).square())
    torch.testing.assert_close(plain, -torch.cdist(z, centres))
    assert torch.equal(squared.argmax(-1), plain.argmax(-1))
    assert not torch.allclose(squared.softmax(-1), plain.softmax(-1), atol=0.01)


def test_gradient_is_finite_for_a_query_equal_to_its_prototype() -> None:
    learner = ProtoNet(Identity(), spec(2), distance="euclidean")
    scores_of(learner, [by_hand((1.0, 0.0))])
    assert learner.backbone.scale.grad.isfinite()


def test_temperature_divides_the_logits() -> None:
    warm = predict(ProtoNet(Identity(), spec(2), temperature=4.0), [by_hand()])
    torch.testing.assert_close(warm, torch.tensor([[[-0.25, -1.25]]]))


def test_ways_may_differ_between_training_and_evaluation() -> None:
    learner = ProtoNet(Conv4((1, 28, 28), filters=4), spec=spec())
    assert predict(learner, tasks(ways=7)).shape == (2, 28, 7)


def test_only_training_updates_running_averages() -> None:
    learner = ProtoNet(Conv4((1, 28, 28), filters=4), spec())
    norm = learner.backbone.blocks[1]
    scores_of(learner, tasks())
    trained = norm.running_mean.clone()
    assert trained.abs().sum() > 0
    predict(learner, tasks(seed=1))
    assert torch.equal(norm.running_mean, trained)


def test_learned_temperature_has_its_initial_value_and_gradient() -> None:
    """With temperature τ the loss is log(1 + exp(−4/τ)), so d loss/d log τ = p₁·4/τ."""
    learner = ProtoNet(Identity(), spec(2), temperature=2.0, learn_temperature=True)
    actual = predict(learner, [by_hand()])
    torch.testing.assert_close(actual, torch.tensor([[[-0.5, -2.5]]]))
    scores_of(learner.train(), [by_hand()])
    p1 = 1 / (1 + math.exp(2))
    assert learner.log_temperature.grad.item() == pytest.approx(2 * p1, rel=1e-5)
    with torch.no_grad():
        learner.log_temperature.fill_(-5.0)
    assert learner.temperature > 0


def test_a_fixed_temperature_is_not_a_parameter() -> None:
    assert list(ProtoNet(Identity(), spec(2)).state_dict()) == ["backbone.scale"]


def test_transductive_batch_norm_uses_separate_statistics_for_support_and_queries() -> None:
    torch.manual_seed(0)
    net = Conv4((1, 28, 28), filters=4).double()
    (task,) = tasks(1, dtype=torch.float64)
    (actual,) = predict(ProtoNet(net, spec(), batch_norm="transductive"), [task])
    net.train()
    z, centres = net(task.query.x), net(task.support.x).unflatten(0, (3, 2)).mean(1)
    torch.testing.assert_close(actual, -torch.cdist(z, centres).square())


def test_tasks_of_different_sizes_have_equal_weight_and_separate_prototypes() -> None:
    """Also if the classes of a task have different numbers of items."""
    learner, batch = ProtoNet(Identity(6), spec()).double(), ragged()
    separate = torch.stack([gradient(learner, [task]) for task in batch]).mean(0)
    torch.testing.assert_close(gradient(learner, batch), separate)
    for task, model in zip(batch, adapt(learner.eval(), batch), strict=True):
        centres = torch.stack([task.support.x[task.support.y == n].mean(0) for n in range(3)])
        expected = -torch.cdist(task.query.x, centres).square()
        torch.testing.assert_close(model(task.query.x), expected)
    assert torch.bincount(batch[2].support.y).tolist() == [1, 2, 3]
