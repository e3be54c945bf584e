"""First-order MAML: its gradient in closed form, and its configuration."""

from __future__ import annotations

import numpy as np
import torch

from metarun.algorithms.maml import MAML
from metarun.config.compose import compose, plain
from tests.algorithms.gradients import gradient, small, smooth
from tests.conftest import scores_of


def test_its_configuration_differs_from_maml_only_in_first_order() -> None:
    fomaml, maml = (plain(compose([f"algo={name}"]))["algo"] for name in ("fomaml", "maml"))
    assert fomaml == {**maml, "first_order": True}
    assert maml["first_order"] is False


def test_first_order_has_the_same_loss_but_another_gradient() -> None:
    exact, first = (smooth(MAML, inner_lr=0.3, first_order=f) for f in (False, True))
    a, b = gradient(exact, small()), gradient(first, small())
    assert (a - b).norm() > 0.01 * a.norm()
    losses = [scores_of(m, small())["loss"] for m in (exact, first)]
    assert torch.equal(*losses)


def test_first_order_gradient_of_softmax_regression_has_its_closed_form() -> None:
    alpha, (task,) = 0.7, small(1)
    model = smooth(MAML, hidden=(), inner_lr=alpha, first_order=True)
    weight = model.net[1].weight.detach().numpy()
    bias = model.net[1].bias.detach().numpy()

    def slope(x: np.ndarray, y: np.ndarray, w: np.ndarray, b: np.ndarray) -> tuple:
        scores = np.exp(x @ w.T + b)
        error = scores / scores.sum(1, keepdims=True) - np.eye(3)[y]
        return error.T @ x / len(x), error.mean(0)

    support, query = ((half.x.numpy(), half.y.numpy()) for half in (task.support, task.query))
    dw, db = slope(*support, weight, bias)
    gw, gb = slope(*query, weight - alpha * dw, bias - alpha * db)
    expected = np.concatenate([gw.ravel(), gb])
    np.testing.assert_allclose(gradient(model, [task]).numpy(), expected, rtol=1e-9)
