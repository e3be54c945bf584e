"""The cosine head, against hand-worked values and explicit gradient steps."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from metarun import testing
from metarun.algorithms.baseline_pp import BaselinePP, cosine
from metarun.errors import Refused
from metarun.tasks.task import Task
from tests.algorithms.learners import fit_in_mini_batches, predict, relabelled, spec, task_of
from tests.conftest import scores_of


class Identity(nn.Module):
    """Identity times a learnable vector of ones."""

    def __init__(self, features: int = 6) -> None:
        super().__init__()
        self.features = features
        self.stretch = nn.Parameter(torch.ones(features))

    def forward(self, x: Tensor) -> Tensor:
        return self.stretch * x


class Doubled(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * x


def small(count: int = 2, ways: int = 3, seed: int = 0) -> list[Task]:
    return testing.tasks(count, ways, shots=2, queries=3, shape=(6,), seed=seed)


def test_logits_are_scaled_cosines_of_vectors_of_any_length() -> None:
    z = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
    w = torch.tensor([[5.0, 0.0], [-1.0, 1.0], [0.0, 7.0]])
    r = math.sqrt(0.5)
    expected = 10 * torch.tensor([[0.6, 0.1 * math.sqrt(2), 0.8], [0.0, r, 1.0]])
    torch.testing.assert_close(cosine(z, w, 10.0), expected)
    torch.testing.assert_close(cosine(100 * z, 0.01 * w, 10.0), expected)


def test_training_loss_by_hand() -> None:
    """Four classes along the axes; labels 0 and 1 of the task are classes 3 and 1."""
    model = BaselinePP(Identity(2), spec(2, classes=4), scale=3.0)
    model.weight.data = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -2.0]])
    support, query = torch.tensor([[0.0, -5.0], [0.0, 0.5]]), torch.tensor([[2.0, 0.0]])
    scores = scores_of(model, [task_of(support, [0, 1], query, [1], classes=[3, 1])])
    total = math.log(math.exp(3) + 2 + math.exp(-3))  # each item has cosines 1, 0, 0 and −1
    assert scores["loss"].item() == pytest.approx(((total - 3) + (total - 3) + total) / 3)
    assert scores["accuracy"].item() == pytest.approx(2 / 3)


def test_training_has_gradients_for_the_network_and_the_class_vectors() -> None:
    model = BaselinePP(Identity(), spec(classes=12)).double()
    scores_of(model, small())
    assert model.backbone.stretch.grad.abs().min() > 0
    assert model.weight.grad.shape == (12, 6)
    radial = (model.weight * model.weight.grad).sum(1)  # 0, as the length has no effect
    torch.testing.assert_close(radial, torch.zeros_like(radial))


def test_the_new_head_is_fitted_by_momentum_sgd() -> None:
    options = {"head_steps": 15, "head_lr": 0.2, "head_scale": 4.0, "head_weight_decay": 0.01}
    model, batch = BaselinePP(Identity(), spec(classes=12), **options).double(), small()
    for task, actual in zip(batch, predict(model, batch), strict=True):
        z = task.support.x / task.support.x.norm(dim=1, keepdim=True)
        w = (z.mean(0) / z.mean(0).norm()).repeat(3, 1)
        velocity = None
        for _ in range(15):
            length = w.norm(dim=1, keepdim=True)
            unit = w / length
            p = torch.softmax(4 * z @ unit.T, 1)
            unit_grad = 4 * (p - F.one_hot(task.support.y, 3)).T @ z / 6
            radial = (unit_grad * unit).sum(1, keepdim=True) * unit
            grad = (unit_grad - radial) / length + 0.01 * w
            velocity = grad if velocity is None else 0.9 * velocity + 0.1 * grad
            w = w - 0.2 * velocity
        queries = F.normalize(task.query.x, dim=1)
        torch.testing.assert_close(actual, 4 * queries @ F.normalize(w, dim=1).T)


def test_lengths_and_mini_batches_are_the_fit_of_the_authors_code() -> None:
    """Cosines with torch's weight normalisation, in passes of batches of 4."""
    options = {"lengths": True, "head_fit": "mini_batch", "head_steps": 3, "head_lr": 0.01}
    model, batch = BaselinePP(Identity(), spec(classes=12), **options).double(), small()
    for task, actual in zip(batch, predict(model, batch), strict=True):
        torch.manual_seed(0)
        layer = weight_norm(nn.Linear(6, 3, bias=False)).double()
        scaled = nn.Sequential(Doubled(), layer)  # 2·cos
        z = F.normalize(task.support.x, dim=1)
        fit_in_mini_batches(scaled, z, task.support.x.sum(1), task.support.y)
        torch.testing.assert_close(actual, scaled(F.normalize(task.query.x, dim=1)).detach())


def test_lengths_are_learned_in_training_too() -> None:
    model = BaselinePP(Identity(), spec(classes=12), lengths=True).double()
    scores_of(model, small())
    assert model.lengths.grad.abs().max() > 0
    z = torch.randn(4, 6).double()
    cosines = F.normalize(z, dim=1) @ F.normalize(model.weight, dim=1).T
    torch.testing.assert_close(model.classify(z), 15 * model.lengths * cosines)
    assert not any(
        "lengths" in name for name in BaselinePP(Identity(), spec(classes=3)).state_dict()
    )


def test_one_shot_on_each_axis_is_classified_correctly() -> None:
    """By symmetry, all logits of wrong classes are equal."""
    model = BaselinePP(Identity(3), spec(classes=12), head_steps=300, head_lr=0.1)
    x, y = torch.eye(3), [1, 2, 0]
    (logits,) = predict(model, [task_of(4 * x, y, x, y)])
    assert torch.equal(logits.argmax(1), torch.tensor([1, 2, 0]))
    wrong = logits[~F.one_hot(torch.tensor([1, 2, 0]), 3).bool()]
    torch.testing.assert_close(wrong, wrong[:1].expand(6))


def test_predictions_do_not_depend_on_the_labels_of_classes() -> None:
    model, batch = BaselinePP(Identity(), spec(classes=12)).double(), small()
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    logits = predict(model, batch)
    torch.testing.assert_close(predict(model, relabelled(batch, new))[..., new], logits)
    assert logits.std() > 0.01


def test_ways_may_differ_in_evaluation_which_does_not_change_the_network() -> None:
    model = BaselinePP(Identity(), spec(classes=12)).double()
    before = model.backbone.stretch.clone()
    assert predict(model, small(ways=5)).shape == (2, 15, 5)
    assert torch.equal(model.backbone.stretch, before)
    assert model.backbone.stretch.grad is None


def test_data_without_classes_is_refused() -> None:
    with pytest.raises(Refused, match="baseline_pp"):
        BaselinePP(Identity(), spec(1))
