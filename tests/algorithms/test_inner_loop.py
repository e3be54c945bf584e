"""The inner loop and the loop over tasks."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms.inner_loop import accumulate_each, adapt, predict_each, query_outputs
from metarun.backbones.norm import BatchNorm
from tests.conftest import episodes


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 4), BatchNorm(4), nn.Tanh(), nn.Linear(4, 3)).double()


def test_adapting_is_gradient_descent_on_the_mean_loss_and_leaves_the_network() -> None:
    model, e = net(), episodes(shape=(6,), dtype=torch.float64)
    before = [p.detach().clone() for p in model.parameters()]
    x, y = e.support_x[0], e.support_y[0]
    adapted = adapt(model, x, y, steps=2, lr=0.3, first_order=True)
    plain = net()
    for _ in range(2):
        slopes = torch.autograd.grad(F.cross_entropy(plain(x), y), [*plain.parameters()])
        with torch.no_grad():
            for p, g in zip(plain.parameters(), slopes, strict=True):
                p -= 0.3 * g
    for p, q in zip(adapted.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p, q)
    assert all(torch.equal(*pair) for pair in zip(before, model.parameters(), strict=True))


def test_a_step_size_for_each_number_reaches_only_that_number() -> None:
    model, e = net(), episodes(shape=(6,), dtype=torch.float64)
    lrs = [torch.zeros_like(p) for p in model.parameters()]
    lrs[0][1, 2] = 0.5
    args = (model, e.support_x[0], e.support_y[0])
    some = adapt(*args, steps=1, lr=lrs, first_order=True)
    every = adapt(*args, steps=1, lr=0.5, first_order=True)
    for own, a, b in zip(model.parameters(), some.parameters(), every.parameters(), strict=True):
        expected = own.detach().clone()
        if own is model[0].weight:
            expected[1, 2] = b[1, 2]
        torch.testing.assert_close(a.detach(), expected)


def test_it_adapts_where_gradients_are_off() -> None:
    model, e = net(), episodes(shape=(6,), dtype=torch.float64)
    args, options = (model, e.support_x[0], e.support_y[0]), {"lr": 0.3, "first_order": True}
    with torch.no_grad():
        adapted = adapt(*args, steps=1, **options)
        assert not query_outputs(adapted, e.support_x[0], e.query_x[0], "inductive").requires_grad
    expected = adapt(*args, steps=1, **options)
    assert torch.equal(adapted[0].weight, expected[0].weight)


def test_each_task_has_its_share_of_the_gradient_and_its_own_scores() -> None:
    """Trap: a sum over tasks would scale the outer step with the meta-batch."""
    model, e = nn.Linear(6, 3).double(), episodes(tasks=3, shape=(6,), dtype=torch.float64)
    scores = accumulate_each(lambda sx, sy, qx: model(qx), e)
    logits = model(e.query_x)
    losses = F.cross_entropy(logits.transpose(1, 2), e.query_y, reduction="none").mean(1)
    torch.testing.assert_close(scores["loss"], losses.detach())
    (expected,) = torch.autograd.grad(losses.mean(), model.weight)
    torch.testing.assert_close(model.weight.grad, expected)
    found = predict_each(lambda sx, sy, qx: model(qx), e.support_x, e.support_y, e.query_x)
    torch.testing.assert_close(found, logits.detach())
    assert not found.requires_grad
