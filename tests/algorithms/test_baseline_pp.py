"""The cosine head on a case by hand, and against its updates written out."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun import testing
from metarun.algorithms.baseline_pp import BaselinePP, cosine
from metarun.errors import Refused
from metarun.tasks.task import Task
from tests.algorithms.learners import predict, relabelled, spec, task_of
from tests.conftest import scores_of


class Identity(nn.Module):
    """Embeds a vector as itself, times a learnable 1."""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.features = features
        self.stretch = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return self.stretch * x


def small(count: int = 2, ways: int = 3, seed: int = 0) -> list[Task]:
    return testing.tasks(count, ways, shots=2, queries=3, shape=(6,), seed=seed)


def test_logits_are_scaled_cosines_whatever_the_lengths() -> None:
    z = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    w = torch.tensor([[5.0, 0.0], [-1.0, 1.0], [0.0, 7.0]])
    r = math.sqrt(0.5)
    expected = 10 * torch.tensor([[0.6, 0.1 * math.sqrt(2), 0.8], [0.0, r, 1.0]])
    torch.testing.assert_close(cosine(z, w, 10.0), expected)
    torch.testing.assert_close(cosine(100 * z, 0.01 * w, 10.0), expected)


def test_training_loss_of_a_case_by_hand() -> None:
    """Four classes along the axes; the task's labels 0 and 1 stand for classes 3 and 1."""
    model = BaselinePP(Identity(2), spec(2, classes=4), scale=3.0)
    model.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0]])
    support, query = torch.tensor([[0.0, -5.0], [0.0, 0.5]]), torch.tensor([[2.0, 0.0]])
    found = scores_of(model, [task_of(support, [0, 1], query, [1], classes=[3, 1])])
    total = math.log(math.exp(3) + 2 + math.exp(-3))  # each item has cosines 1, 0, 0 and −1
    assert found["loss"].item() == pytest.approx(((total - 3) + (total - 3) + total) / 3)
    assert found["accuracy"].item() == pytest.approx(2 / 3)


def test_training_learns_the_network_and_a_vector_for_each_class_it_met() -> None:
    model = BaselinePP(Identity(), spec(classes=12)).double()
    scores_of(model, small())
    assert model.backbone.stretch.grad.abs().min() > 0
    assert model.weight.grad.shape == (12, 6)
    turned = (model.weight * model.weight.grad).sum(1)  # lengths do not matter, so no slope there
    torch.testing.assert_close(turned, torch.zeros_like(turned))


def test_the_new_head_takes_the_steps_of_one_task_written_out() -> None:
    options = {"head_steps": 15, "head_lr": 0.2, "head_scale": 4.0, "head_weight_decay": 0.01}
    model, given = BaselinePP(Identity(), spec(classes=12), **options).double(), small()
    for task, found in zip(given, predict(model, given), strict=True):
        z = task.support.x / task.support.x.norm(dim=1, keepdim=True)
        w = (z.mean(0) / z.mean(0).norm()).repeat(3, 1)
        speed = None
        for _ in range(15):
            length = w.norm(dim=1, keepdim=True)
            unit = w / length
            p = torch.softmax(4 * z @ unit.T, 1)
            pull = 4 * (p - F.one_hot(task.support.y, 3)).T @ z / 6  # slope in the unit vectors
            slope = (pull - (pull * unit).sum(1, keepdim=True) * unit) / length + 0.01 * w
            speed = slope if speed is None else 0.9 * speed + 0.1 * slope
            w = w - 0.2 * speed
        queries = F.normalize(task.query.x, dim=1)
        torch.testing.assert_close(found, 4 * queries @ F.normalize(w, dim=1).T)


def test_orthogonal_supports_end_at_their_own_directions() -> None:
    """With one shot on each axis, by symmetry, a query on an axis belongs to its label."""
    model = BaselinePP(Identity(3), spec(classes=12), head_steps=300, head_lr=0.1)
    x, y = torch.eye(3), [1, 2, 0]
    (logits,) = predict(model, [task_of(4 * x, y, x, y)])
    assert torch.equal(logits.argmax(1), torch.tensor([1, 2, 0]))
    off = logits[~F.one_hot(torch.tensor([1, 2, 0]), 3).bool()]
    torch.testing.assert_close(off, off[:1].expand(6))


def test_no_label_is_unlike_the_others() -> None:
    model, given = BaselinePP(Identity(), spec(classes=12)).double(), small()
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    logits = predict(model, given)
    torch.testing.assert_close(predict(model, relabelled(given, new))[..., new], logits)
    assert logits.std() > 0.01


def test_evaluation_ways_need_not_be_those_of_training_and_the_network_rests() -> None:
    model = BaselinePP(Identity(), spec(classes=12)).double()
    before = model.backbone.stretch.clone()
    assert predict(model, small(ways=5)).shape == (2, 15, 5)
    assert torch.equal(model.backbone.stretch, before)
    assert model.backbone.stretch.grad is None


def test_data_without_classes_is_refused() -> None:
    with pytest.raises(Refused, match="baseline_pp"):
        BaselinePP(Identity(), spec(1))
