"""Functions to minimise: stacking, values along a path, scores, divergence."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from metarun.data.functions import LAST
from metarun.tasks.optimizee import Optimizee


def parabola(x: Tensor, a: Tensor) -> Tensor:
    return (a * x.square()).sum(-1)


def optimizee(*a: float) -> Optimizee:
    return Optimizee(parabola, (torch.tensor(a),), torch.ones(len(a)), 2, LAST)


def to(*points: list[float]):
    return lambda start: torch.stack([start, *map(torch.tensor, points)])


def test_the_loss_is_the_mean_over_the_steps_and_each_has_a_score() -> None:
    loss, scores = optimizee(1.0, 2.0).judge(to([1.0, 0.0], [0.0, 0.5]))
    assert float(loss) == float(scores["loss"]) == (1 + 0.5) / 2
    assert {k: float(v) for k, v in scores.items() if k != "loss"} == {
        "final_loss": 0.5,
        "diverged": 0.0,
        "loss_0": 3.0,
        "loss_1": 1.0,
        "loss_2": 0.5,
    }
    assert float(optimizee(1.0, 2.0).loss(to([1.0, 0.0], [0.0, 0.5]))) == 0.75


@pytest.mark.parametrize("far", [float("nan"), float("inf"), 2e3])
def test_a_divergence_has_no_other_scores(far: float) -> None:
    scores = optimizee(1.0).judge(to([far], [0.0])).scores
    assert scores["diverged"] == 1
    assert all(value.isnan() for name, value in scores.items() if name != "diverged")
    assert optimizee(1.0).judge(to([900.0], [0.0])).scores["diverged"] == 0


def test_stacked_functions_have_the_values_and_gradients_of_each() -> None:
    a, b = optimizee(1.0, 2.0), optimizee(3.0, 4.0)
    both, x = Optimizee.stack([a, b]), torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    value, gradient = both.value_and_gradient(x)
    assert value.tolist() == [9.0, 27.0 + 64.0]
    assert gradient.tolist() == [[2.0, 8.0], [18.0, 32.0]]
    path = torch.randn(2, 5, 2)
    expected = torch.stack([f.along(p) for f, p in zip((a, b), path, strict=True)])
    assert torch.equal(both.along(path), expected)


def test_second_derivatives_are_kept_if_asked_for() -> None:
    x = torch.tensor([3.0], requires_grad=True)
    _, gradient = optimizee(2.0).value_and_gradient(x, graph=True)
    (second,) = torch.autograd.grad(gradient.sum(), x)
    assert second.tolist() == [4.0]
    assert not optimizee(2.0).value_and_gradient(x)[1].requires_grad
