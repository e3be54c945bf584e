"""Gradients of Meta-SGD in weights and step sizes, against finite differences and learn2learn."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metarun.algorithms.clone_adapt import l2l
from metarun.algorithms.maml import MAML
from metarun.algorithms.meta_sgd import MetaSGD
from tests.algorithms.gradients import finite_differences, gradient, same_as_wrapper, small, smooth
from tests.algorithms.learners import predict
from tests.conftest import scores_of


def learner(**options: object) -> MetaSGD:
    """Return a learner with distinct step sizes, one of them negative."""
    model = smooth(MetaSGD, inner_lr=0.3, **options)
    with torch.no_grad():
        for lr in model.lrs:
            lr += 0.2 * torch.rand_like(lr)
        model.lrs[0][0, 0] = -0.1
    return model


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
@pytest.mark.parametrize("inner_steps", [1, 2])
def test_the_meta_gradient_equals_finite_differences(inner_steps: int, batch_norm: str) -> None:
    """With respect to all weights and all step sizes."""
    model = learner(inner_steps=inner_steps, batch_norm=batch_norm)
    expected = finite_differences(model, small())
    assert len(expected) == 2 * sum(p.numel() for p in model.net.parameters())
    torch.testing.assert_close(gradient(model, small()), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("first_order", [False, True])
def test_the_meta_gradient_equals_that_of_the_learn2learn_wrapper(first_order: bool) -> None:
    model = learner(first_order=first_order)
    wrapper = l2l.algorithms.MetaSGD(copy.deepcopy(model.net), first_order=first_order)
    wrapper.lrs = nn.ParameterList(nn.Parameter(lr.detach().clone()) for lr in model.lrs)
    same_as_wrapper(model, wrapper, [*wrapper.module.parameters(), *wrapper.lrs], steps=1)


@pytest.mark.parametrize("first_order", [False, True])
def test_one_step_follows_the_equation_of_the_paper(first_order: bool) -> None:
    """θ' = θ − α∘g, where g is a constant in first order, so d loss/dα = −g∘(d loss/dθ')."""
    model = smooth(MetaSGD, hidden=(), first_order=first_order)
    (task,), (w, b) = small(1), model.net[1].parameters()
    gw, gb = torch.autograd.grad(
        F.cross_entropy(task.support.x @ w.T + b, task.support.y),
        (w, b),
        create_graph=not first_order,
    )
    aw, ab = (lr.detach().clone().requires_grad_() for lr in model.lrs)
    logits = task.query.x @ (w - aw * gw).T + b - ab * gb
    expected = torch.autograd.grad(F.cross_entropy(logits, task.query.y), (w, b, aw, ab))
    actual = gradient(model, [task])
    torch.testing.assert_close(actual, torch.cat([g.flatten() for g in expected]))
    torch.testing.assert_close(predict(model, [task])[0], logits.detach())


def test_with_equal_step_sizes_it_equals_maml() -> None:
    ours, maml = smooth(MetaSGD, inner_lr=0.3), smooth(MAML, inner_lr=0.3)
    expected = gradient(maml, small())
    torch.testing.assert_close(gradient(ours, small())[: len(expected)], expected)


def test_step_sizes_start_at_the_inner_lr_and_are_trained() -> None:
    model = smooth(MetaSGD, inner_lr=0.05)
    assert all(lr.allclose(torch.full_like(lr, 0.05)) for lr in model.lrs)
    assert [lr.shape for lr in model.lrs] == [p.shape for p in model.net.parameters()]
    before = [lr.detach().clone() for lr in model.lrs]
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scores_of(model, small())
    optimizer.step()
    changed = [(lr != old).all() for lr, old in zip(model.lrs, before, strict=True)]
    assert sum(changed) >= len(changed) - 1  # biases before batch normalisation have no gradient
