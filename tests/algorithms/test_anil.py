"""The meta-gradient of ANIL, against finite differences and learn2learn, and its adaptation."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms.anil import ANIL
from metarun.algorithms.clone_adapt import l2l
from metarun.backbones.norm import normalised_by
from tests.algorithms.gradients import finite_differences, gradient, small, smooth
from tests.algorithms.learners import predict
from tests.conftest import scores_of

learner = partial(smooth, ANIL)
both_statistics = pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])


@both_statistics
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_the_meta_gradient_equals_finite_differences(inner_steps: int, batch_norm: str) -> None:
    model = learner(inner_lr=0.5, inner_steps=inner_steps, batch_norm=batch_norm)
    expected = finite_differences(model, small())
    torch.testing.assert_close(gradient(model, small()), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("first_order", [False, True])
def test_it_equals_learn2learns_maml_applied_to_the_head(first_order: bool) -> None:
    model = learner(inner_lr=0.5, inner_steps=3, first_order=first_order)
    actual = gradient(model, small())
    body = copy.deepcopy(model.backbone)
    wrapper = l2l.algorithms.MAML(copy.deepcopy(model.head), lr=0.5, first_order=first_order)
    parameters = [*body.parameters(), *wrapper.parameters()]
    for p in parameters:
        p.grad = None
    with normalised_by(body, "batch"):
        for task in small():
            head = wrapper.clone()
            for _ in range(3):
                head.adapt(F.cross_entropy(head(body(task.support.x)), task.support.y))
            (F.cross_entropy(head(body(task.query.x)), task.query.y) / 2).backward()
    expected = torch.cat([p.grad.flatten() for p in parameters])
    torch.testing.assert_close(actual, expected)


def test_the_first_order_gradient_differs_in_the_body() -> None:
    """Only the exact gradient depends on the features of the support."""
    exact, first = (learner(inner_lr=0.5, first_order=f) for f in (False, True))
    gradient(exact, small())
    gradient(first, small())
    for a, b in zip(exact.backbone.parameters(), first.backbone.parameters(), strict=True):
        if a.grad.norm() > 1e-6:  # biases before batch normalisation have no gradient
            assert (a.grad - b.grad).norm() > 0.01 * a.grad.norm()


@both_statistics
def test_prediction_is_gradient_descent_of_the_head_on_fixed_features(batch_norm: str) -> None:
    model = learner(inner_lr=0.5, inner_steps=1, test_inner_steps=4, batch_norm=batch_norm)
    (task,) = small(1)
    sx, qx = task.support.x, task.query.x
    with torch.no_grad():
        with normalised_by(model.backbone, "batch"):
            support, query = model.backbone(sx), model.backbone(qx)
        if batch_norm == "inductive":
            with normalised_by(model.backbone, len(sx)):
                query = model.backbone(torch.cat([sx, qx]))[len(sx) :]
    w, b = model.head.weight.detach().clone(), model.head.bias.detach().clone()
    for _ in range(4):
        error = (support @ w.T + b).softmax(1) - F.one_hot(task.support.y, 3)
        w, b = w - 0.5 * error.T @ support / len(support), b - 0.5 * error.mean(0)
    torch.testing.assert_close(predict(model, [task])[0], query @ w.T + b)


def test_the_features_of_a_task_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = learner(inner_steps=5), []
    forward = model.backbone.forward
    monkeypatch.setattr(model.backbone, "forward", lambda x: rows.append(len(x)) or forward(x))
    scores_of(model, small())
    predict(model, small())
    assert sum(rows) == 2 * 2 * (6 + 9)
