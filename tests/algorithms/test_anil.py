"""ANIL's meta-gradient against finite differences and learn2learn, and what adapts."""

from __future__ import annotations

import copy
from functools import partial

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms.anil import ANIL
from metarun.algorithms.inner_loop import l2l
from metarun.backbones.norm import normalised_by
from tests.algorithms.gradients import finite_differences, gradient, small, smooth

learner = partial(smooth, ANIL)
both = pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])


@both
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_the_meta_gradient_is_that_of_finite_differences(inner_steps: int, batch_norm: str) -> None:
    model = learner(inner_lr=0.5, inner_steps=inner_steps, batch_norm=batch_norm)
    expected = finite_differences(model, small())
    torch.testing.assert_close(gradient(model, small()), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("first_order", [False, True])
def test_it_is_learn2learns_maml_round_the_head(first_order: bool) -> None:
    model = learner(inner_lr=0.5, inner_steps=3, first_order=first_order)
    found = gradient(model, small())
    e, body = small(), copy.deepcopy(model.backbone)
    wrapper = l2l.algorithms.MAML(copy.deepcopy(model.head), lr=0.5, first_order=first_order)
    parameters = [*body.parameters(), *wrapper.parameters()]
    for p in parameters:
        p.grad = None
    with normalised_by(body, "batch"):
        for sx, sy, qx, qy in zip(e.support_x, e.support_y, e.query_x, e.query_y, strict=True):
            head = wrapper.clone()
            for _ in range(3):
                head.adapt(F.cross_entropy(head(body(sx)), sy))
            (F.cross_entropy(head(body(qx)), qy) / 2).backward()
    expected = torch.cat([p.grad.flatten() for p in parameters])
    torch.testing.assert_close(found, expected)


def test_the_first_order_gradient_is_another_in_the_body() -> None:
    """The support's features are part of the exact gradient only."""
    exact, first = (learner(inner_lr=0.5, first_order=f) for f in (False, True))
    gradient(exact, small())
    gradient(first, small())
    for a, b in zip(exact.backbone.parameters(), first.backbone.parameters(), strict=True):
        if a.grad.norm() > 1e-6:  # not the biases before batch normalisation
            assert (a.grad - b.grad).norm() > 0.01 * a.grad.norm()


@both
def test_prediction_is_gradient_descent_on_the_head_over_fixed_features(batch_norm: str) -> None:
    model = learner(inner_lr=0.5, inner_steps=1, test_inner_steps=4, batch_norm=batch_norm)
    e = small(tasks=1)
    statistics = "batch" if batch_norm == "transductive" else len(e.support_x[0])
    with torch.no_grad():
        with normalised_by(model.backbone, "batch"):
            support, query = model.backbone(e.support_x[0]), model.backbone(e.query_x[0])
        if batch_norm == "inductive":
            with normalised_by(model.backbone, statistics):
                query = model.backbone(torch.cat([e.support_x[0], e.query_x[0]]))[statistics:]
    w, b = model.head.weight.detach().clone(), model.head.bias.detach().clone()
    for _ in range(4):
        error = (support @ w.T + b).softmax(1) - F.one_hot(e.support_y[0], 3)
        w, b = w - 0.5 * error.T @ support / len(support), b - 0.5 * error.mean(0)
    found = model.predict(e.support_x, e.support_y, e.query_x)
    torch.testing.assert_close(found[0], query @ w.T + b)


def test_the_features_of_a_task_are_computed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model, e, rows = learner(inner_steps=5), small(), []
    forward = model.backbone.forward
    monkeypatch.setattr(model.backbone, "forward", lambda x: rows.append(len(x)) or forward(x))
    model.accumulate(e)
    model.predict(e.support_x, e.support_y, e.query_x)
    assert sum(rows) == 2 * 2 * (6 + 9)
