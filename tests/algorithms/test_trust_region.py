"""The trust-region step beside linear algebra and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import kl_divergence

from metarun.algorithms.trust_region import conjugate_gradient, curvature, trust_region_step
from metarun.tasks.policy_gradient import categorical, gaussian


@given(st.integers(1, 6), st.integers(0, 100))
def test_conjugate_gradients_solve_a_system_in_as_many_steps_as_unknowns(n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    root, b = rng.normal(size=(n, n)), rng.normal(size=n)
    a = root @ root.T + np.eye(n)
    x = conjugate_gradient(lambda v: torch.from_numpy(a) @ v, torch.from_numpy(b), n, 0)
    np.testing.assert_allclose(x.numpy(), np.linalg.solve(a, b), rtol=1e-6, atol=1e-8)


def test_the_curvature_of_the_divergence_is_the_fisher_information() -> None:
    logits = torch.randn(4, dtype=torch.float64, requires_grad=True)
    p = logits.detach().softmax(0)
    product = curvature(kl_divergence(categorical(logits.detach()), categorical(logits)), [logits])
    fisher = torch.stack([product(v) for v in torch.eye(4).double()])
    torch.testing.assert_close(fisher, p.diag() - p[:, None] * p)
    outputs = torch.tensor([0.3, 0.7], dtype=torch.float64, requires_grad=True)  # μ, log σ
    product = curvature(kl_divergence(gaussian(outputs.detach()), gaussian(outputs)), [outputs])
    fisher = torch.stack([product(v) for v in torch.eye(2).double()])
    expected = torch.tensor([np.exp(-1.4), 2.0], dtype=torch.float64)
    torch.testing.assert_close(fisher, expected.diag())


class Quadratic:
    """The loss c·x beside the divergence x·F·x / 2, in two parameters of different shapes."""

    def __init__(self, loss_of: object = None) -> None:
        self.parameters = [torch.zeros(2, dtype=torch.float64), torch.zeros(1, 1).double()]
        self.fisher = torch.tensor([[2.0, 0.3, 0], [0.3, 1, 0], [0, 0, 0.5]], dtype=torch.float64)
        self.slope = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
        self.loss_of = loss_of or (lambda x: self.slope @ x)

    @property
    def x(self) -> Tensor:
        return torch.cat([p.flatten() for p in self.parameters])

    def evaluate(self) -> tuple[float, float]:
        return float(self.loss_of(self.x)), float(self.x @ self.fisher @ self.x / 2)

    def step(self, **settings: float) -> object:
        def product(v: Tensor) -> Tensor:
            return self.fisher @ v

        settings = {"max_kl": 0.02, "damping": 0.0, "backtracks": 15, "shrink": 0.5, **settings}
        return trust_region_step(self.parameters, self.slope, product, self.evaluate, **settings)


def test_the_step_is_the_minimum_on_the_border_of_the_region() -> None:
    """Lagrange: x = −√(2·max_kl / c·F⁻¹·c) · F⁻¹·c."""
    problem = Quadratic()
    natural = torch.linalg.solve(problem.fisher, problem.slope)
    expected = -(0.04 / (problem.slope @ natural)).sqrt() * natural
    step = problem.step(max_kl=0.02)
    torch.testing.assert_close(problem.x, (0.5 if step.fraction == 0.5 else 1) * expected)
    assert step.kl <= 0.02
    assert step.improvement == pytest.approx(-float(problem.slope @ problem.x))


def test_the_step_is_shortened_until_the_loss_decreases_or_not_taken() -> None:
    far = Quadratic()
    far.loss_of = lambda x: far.slope @ x + 1e9 * (x.norm() > 0.05)
    step = far.step()
    assert 0.02 < float(far.x.norm()) <= 0.05
    assert 0 < step.fraction < 0.5
    never = Quadratic()
    never.loss_of = lambda x: x.norm()
    assert never.step() == (0.0, 0.0, 0.0)
    assert not never.x.any()
    flat = Quadratic()
    flat.slope = torch.zeros(3).double()
    assert flat.step() == (0.0, 0.0, 0.0)
