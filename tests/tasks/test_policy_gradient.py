"""Policy gradients beside numpy, closed forms and the exact expected return of a bandit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from metarun.tasks.policy_gradient import (
    advantages,
    categorical,
    gaussian,
    linear_baseline,
    returns_to_go,
    surrogate,
)

GENERATOR = np.random.default_rng(0)
REWARDS = GENERATOR.normal(size=(7, 3))  # steps, rollouts
VALUES = GENERATOR.normal(size=(7, 3))
LENGTHS = np.array([7, 4, 1])
MASK = (np.arange(7)[:, None] < LENGTHS).astype(float)
VALUE = torch.tensor([1.0, 0.3, -0.5], dtype=torch.float64)  # expected rewards of a bandit's arms
SAMPLED = torch.tensor([0, 0, 1, 2])  # as often as the probabilities 1/2, 1/4, 1/4 of `THETA` say
THETA = torch.tensor([0.5, 0.25, 0.25], dtype=torch.float64).log()


@given(st.floats(0, 1), st.integers(1, 12))
def test_returns_to_go_are_discounted_sums(discount: float, steps: int) -> None:
    rewards = np.random.default_rng(steps).normal(size=(2, steps, 3))
    to_go = returns_to_go(torch.from_numpy(rewards), discount).numpy()
    for t in range(steps):
        weights = discount ** np.arange(steps - t)
        np.testing.assert_allclose(to_go[:, t], np.einsum("k,nkb->nb", weights, rewards[:, t:]))


def test_the_baseline_is_the_ridge_regression_of_each_task_on_the_steps_taken() -> None:
    rng = np.random.default_rng(1)
    o, returns = rng.normal(size=(2, 7, 3, 2)) * 8, rng.normal(size=(2, 7, 3)) * 10
    mask = np.stack([MASK, np.ones_like(MASK)])
    o = torch.from_numpy(o)
    values = linear_baseline(o, torch.from_numpy(returns), torch.from_numpy(mask)).numpy()
    for task in range(2):
        rows = []
        for t, b in np.ndindex(7, 3):
            x = np.clip(o[task, t, b].numpy(), -10, 10)
            rows.append([*x, *x**2, t / 100, (t / 100) ** 2, (t / 100) ** 3, 1])
        rows, taken = np.array(rows), mask[task].flatten() == 1
        a = np.concatenate([rows[taken], np.sqrt(1e-5) * np.eye(rows.shape[1])])
        b = np.concatenate([returns[task].flatten()[taken], np.zeros(rows.shape[1])])
        expected = rows @ np.linalg.lstsq(a, b, rcond=None)[0]
        np.testing.assert_allclose(values[task].flatten(), expected, rtol=1e-6)


@pytest.mark.parametrize("trace", [0.0, 0.7, 1.0])
def test_advantages_are_sums_of_temporal_differences_up_to_the_end(trace: float) -> None:
    discount, expected = 0.9, np.zeros_like(REWARDS)
    for b, length in enumerate(LENGTHS):
        following = np.append(VALUES[1:length, b], 0)
        delta = REWARDS[:length, b] + discount * following - VALUES[:length, b]
        for t in range(length):
            expected[t, b] = (discount * trace) ** np.arange(length - t) @ delta[t:]
    rewards, values, mask = map(torch.from_numpy, (REWARDS * MASK, VALUES, MASK))
    actual = advantages(rewards, values, discount, trace=trace, mask=mask, normalise=False)
    np.testing.assert_allclose(actual.numpy(), expected)
    if trace == 1:
        to_go = returns_to_go(rewards, discount)
        np.testing.assert_allclose(actual.numpy(), ((to_go - values) * mask).numpy())


def test_normalised_advantages_have_mean_0_and_deviation_1_in_each_task() -> None:
    arrays = (REWARDS * MASK, VALUES, MASK)
    rewards, values, mask = (torch.from_numpy(np.stack([a, a])) for a in arrays)
    rewards[1] *= 3
    taken = advantages(rewards, values, 0.9, mask=mask)[mask > 0].view(2, -1)
    np.testing.assert_allclose(taken.mean(1), 0, atol=1e-12)
    np.testing.assert_allclose(taken.std(1, correction=0), 1)


def test_log_probabilities_and_divergences_of_policies() -> None:
    outputs = torch.randn(5, 4, dtype=torch.float64)
    policy, actions = gaussian(outputs), torch.randn(5, 2, dtype=torch.float64)
    mean, std = outputs[:, :2].numpy(), outputs[:, 2:].exp().numpy()
    expected = stats.norm(mean, std).logpdf(actions.numpy()).sum(1)
    np.testing.assert_allclose(policy.log_prob(actions).numpy(), expected)
    logits, arms = torch.randn(5, 3, dtype=torch.float64), torch.tensor([0, 1, 2, 1, 0])
    expected = logits.numpy() - np.log(np.exp(logits.numpy()).sum(1, keepdims=True))
    actual = categorical(logits).log_prob(arms).numpy()
    np.testing.assert_allclose(actual, expected[range(5), arms.numpy()])


def value(theta: Tensor) -> Tensor:
    """Return the exact expected reward of one pull."""
    return theta.softmax(0) @ VALUE


def sampled(theta: Tensor, old: Tensor, baseline: float) -> Tensor:
    """Return the surrogate on pulls whose frequencies are the probabilities of `old`."""
    log_p, old_log_p = (categorical(t).log_prob(SAMPLED) for t in (theta, old))
    return surrogate(log_p, old_log_p, VALUE[SAMPLED] - baseline)


@pytest.mark.parametrize("baseline", [0.0, 0.4])
def test_the_surrogate_has_both_derivatives_of_the_expected_return(baseline: float) -> None:
    exact = torch.autograd.functional.hessian(value, THETA)
    actual = torch.autograd.functional.hessian(lambda t: sampled(t, THETA, baseline), THETA)
    torch.testing.assert_close(-actual, exact)
    slope = torch.autograd.functional.jacobian(lambda t: sampled(t, THETA, baseline), THETA)
    torch.testing.assert_close(-slope, torch.autograd.functional.jacobian(value, THETA))

    def naive(theta: Tensor) -> Tensor:  # −mean(log p · advantage)
        return -(categorical(theta).log_prob(SAMPLED) * (VALUE[SAMPLED] - baseline)).mean()

    assert not torch.allclose(-torch.autograd.functional.hessian(naive, THETA), exact)


def test_the_meta_gradient_is_that_of_the_expected_return_after_a_step() -> None:
    """Central differences of J(θ + rate · ∇J(θ)), where J is known, against sampled surrogates."""
    rate, theta = 0.7, THETA.clone().requires_grad_()
    (slope,) = torch.autograd.grad(sampled(theta, theta, 0.4), theta, create_graph=True)
    (actual,) = torch.autograd.grad(value(theta - rate * slope), theta)

    def after_a_step(theta: Tensor) -> Tensor:
        p = theta.softmax(0)
        return value(theta + rate * p * (VALUE - p @ VALUE))

    shifts = 1e-5 * torch.eye(3, dtype=torch.float64)
    differences = [(after_a_step(THETA + d) - after_a_step(THETA - d)) / 2e-5 for d in shifts]
    torch.testing.assert_close(actual, torch.stack(differences), rtol=1e-7, atol=1e-9)
