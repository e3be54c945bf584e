"""MAML's meta-gradient against finite differences and closed forms, in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import Task
from metarun.algorithms.maml import MAML
from metarun.backbones.mlp import MLP
from metarun.backbones.norm import BatchNorm
from tests.conftest import episodes


def learner(seed: int = 0, hidden: tuple[int, ...] = (4,), **options: object) -> MAML:
    torch.manual_seed(seed)
    net = MLP((6,), hidden=list(hidden))
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):  # a kink within a difference's reach would spoil it
            layer.forward = F.softplus
    return MAML(net, Task(3), **options).double()


def small(tasks: int = 2, seed: int = 0) -> object:
    return episodes(tasks, ways=3, shots=2, queries=3, shape=(6,), seed=seed, dtype=torch.float64)


def gradient(model: MAML, e: object) -> Tensor:
    model.zero_grad()
    model.accumulate(e)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def finite_differences(model: MAML, e: object, step: float = 1e-5) -> Tensor:
    """Central differences of the mean query loss in every parameter."""
    slopes = []
    for p in model.parameters():
        for i in range(p.numel()):
            flat, ends = p.data.view(-1), []
            for sign in (1, -1):
                flat[i] += sign * step
                ends.append(model.accumulate(e)["loss"].mean().item())
                flat[i] -= sign * step
            slopes.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
@pytest.mark.parametrize("inner_steps", [1, 3])
def test_the_meta_gradient_is_that_of_finite_differences(inner_steps: int, batch_norm: str) -> None:
    model = learner(inner_lr=0.3, inner_steps=inner_steps, batch_norm=batch_norm)
    expected = finite_differences(model, small())
    torch.testing.assert_close(gradient(model, small()), expected, rtol=1e-5, atol=1e-8)


def test_first_order_is_another_gradient_of_the_same_loss() -> None:
    """Trap: first order by accident."""
    exact, first = (learner(inner_lr=0.3, first_order=f) for f in (False, True))
    a, b = gradient(exact, small()), gradient(first, small())
    assert (a - b).norm() > 0.01 * a.norm()
    losses = [m.accumulate(small())["loss"] for m in (exact, first)]
    assert torch.equal(*losses)


def test_first_order_on_softmax_regression_is_its_closed_form() -> None:
    """Without hidden layers the adapted weights and the gradient at them can be written down."""
    alpha, e = 0.7, small(tasks=1)
    model = learner(hidden=(), inner_lr=alpha, first_order=True)
    weight = model.net[1].weight.detach().numpy()
    bias = model.net[1].bias.detach().numpy()

    def slope(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple:
        scores = np.exp(x @ w.T + b)
        error = scores / scores.sum(1, keepdims=True) - np.eye(3)[y]
        return error.T @ x / len(x), error.mean(0)

    sx, sy, qx, qy = (t[0].numpy() for t in (e.support_x, e.support_y, e.query_x, e.query_y))
    dw, db = slope(sx, sy, weight, bias)
    gw, gb = slope(qx, qy, weight - alpha * dw, bias - alpha * db)
    expected = np.concatenate([gw.ravel(), gb])
    np.testing.assert_allclose(gradient(model, e).numpy(), expected, rtol=1e-9)


def test_the_outer_loss_is_the_mean_over_tasks() -> None:
    """Trap: a sum would scale the outer step with the meta-batch."""
    model, both = learner(), small(tasks=2)
    one = [type(both)(*(part[t : t + 1] for part in list(vars(both).values())[:4])) for t in (0, 1)]
    separate = torch.stack([gradient(model, e) for e in one]).mean(0)
    torch.testing.assert_close(gradient(model, both), separate)


def test_without_inner_steps_maml_is_ordinary_training() -> None:
    model, e = learner(inner_steps=0), small(tasks=1)
    found = gradient(model, e)
    for layer in model.modules():
        if isinstance(layer, BatchNorm):
            layer.statistics = "batch"
    loss = F.cross_entropy(model.net(e.query_x[0]), e.query_y[0])
    expected = torch.cat([g.flatten() for g in torch.autograd.grad(loss, [*model.parameters()])])
    torch.testing.assert_close(found, expected)


def test_prediction_adapts_by_the_steps_of_evaluation() -> None:
    """Three plain gradient steps written out give the same logits."""
    model, e = learner(hidden=(), inner_lr=0.5, test_inner_steps=3), small(tasks=1)
    w, b = (p.detach().clone().requires_grad_() for p in model.net[1].parameters())
    for _ in range(3):
        loss = F.cross_entropy(e.support_x[0] @ w.T + b, e.support_y[0])
        dw, db = torch.autograd.grad(loss, (w, b))
        w, b = (w - 0.5 * dw).requires_grad_(), (b - 0.5 * db).requires_grad_()
    with torch.no_grad():
        found = model.predict(e.support_x, e.support_y, e.query_x)
        torch.testing.assert_close(found[0], e.query_x[0] @ w.T + b)
