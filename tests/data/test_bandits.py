"""Bandits beside the enumeration of all outcomes, known optima and fixed policies."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
import torch
from torch import Tensor

from metarun.data.bandits import Bandits, best_return
from metarun.tasks.environment import together
from metarun.tasks.sampler import Sampler


def tasks(count: int, **settings: int) -> list:
    source = Bandits(**settings).load()["test"].to("cpu", torch.float64)
    return Sampler.frozen(source, "test", 0).tasks(range(count))


def returns(policy: object, count: int = 1000, **settings: int) -> np.ndarray:
    several = together([task.query for task in tasks(count, **settings)])
    return np.array([float(judged.scores["return"]) for judged in several.judge_all(policy)])


def test_the_best_possible_return_of_ten_pulls() -> None:
    assert best_return(((0, 0),) * 5, 10) == pytest.approx(6.660, abs=5e-4)
    assert best_return(((0, 0),) * 10, 10) == pytest.approx(6.714, abs=5e-4)
    assert best_return(((0, 0),), 7) == pytest.approx(3.5)  # nothing to choose
    task = Bandits().load()["test"]
    assert task.best_possible(task.choose(np.random.default_rng(0)))["return"] > 6.65
    assert Bandits(pulls=100).load()["test"].best_possible(()) == {}


def test_the_best_possible_return_is_that_of_the_best_of_all_strategies() -> None:
    """Enumerates every strategy of three pulls of two arms; a strategy maps outcomes to arms."""
    histories = [h for n in range(3) for h in product((0, 1), repeat=n)]  # rewards so far

    def expected(strategy: dict[tuple[int, ...], int]) -> float:
        total = 0.0
        for rewards in product((0, 1), repeat=3):
            counts, p = [[1, 1], [1, 1]], 1.0  # rewards and failures of each arm, plus 1
            for t, reward in enumerate(rewards):
                won, lost = counts[strategy[rewards[:t]]]
                p *= (won if reward else lost) / (won + lost)
                counts[strategy[rewards[:t]]][0 if reward else 1] += 1
            total += p * sum(rewards)
        return total

    values = [
        expected(dict(zip(histories, arms, strict=True)))
        for arms in product((0, 1), repeat=len(histories))
    ]
    assert best_return(((0, 0), (0, 0)), 3) == pytest.approx(max(values))


def test_random_pulls_have_half_the_rewards_and_the_best_arm_its_probability() -> None:
    random = returns(lambda x: torch.zeros(len(x), 5, dtype=x.dtype))
    assert random.mean() == pytest.approx(5.0, abs=4 * random.std() / 1000**0.5)
    laws = torch.cat([task.query.laws for task in tasks(1000)])
    best = returns(lambda x: 1e3 * laws.repeat_interleave(len(x) // 1000, 0))
    assert best.mean() == pytest.approx(10 * 5 / 6, abs=4 * best.std() / 1000**0.5)


class Greedy:
    """Pulls the arm with the largest expected reward so far; its memory is the counts."""

    def unroll(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        outputs = []
        for now in x:
            memory = torch.ones(len(now), 5, 2, dtype=x.dtype) if memory is None else memory
            arm, reward = now[:, :5], now[:, 5:]
            memory = memory + torch.stack([arm * reward, arm * (1 - reward)], -1)
            outputs.append(1e3 * memory[..., 0] / memory.sum(-1))
        return torch.stack(outputs), memory


def test_a_policy_with_a_memory_gains_from_the_observations_and_none_beats_the_best() -> None:
    greedy = returns(Greedy())
    interval = 4 * greedy.std() / 1000**0.5
    assert 6.0 < greedy.mean() < 6.66 + interval


def test_observations_are_the_arm_and_the_reward_before() -> None:
    (task,) = tasks(1, arms=3, pulls=6, rollouts=4)
    taken = task.query.act(lambda x: torch.zeros(len(x), 3, dtype=x.dtype))
    assert not taken.observations[0].any()
    one_hot = torch.nn.functional.one_hot(taken.actions[:-1], 3)
    torch.testing.assert_close(taken.observations[1:, :, :3], one_hot.double())
    torch.testing.assert_close(taken.observations[1:, :, 3], taken.rewards[:-1])
    assert set(taken.rewards.unique().tolist()) <= {0.0, 1.0}


def test_a_reward_has_the_probability_of_its_arm() -> None:
    (task,) = tasks(1, arms=3, pulls=50, rollouts=200)
    taken = task.query.act(lambda x: torch.zeros(len(x), 3, dtype=x.dtype))
    for arm, p in enumerate(task.query.laws[0].tolist()):
        rewards = taken.rewards[taken.actions == arm]
        assert float(rewards.mean()) == pytest.approx(p, abs=4 * (0.25 / len(rewards)) ** 0.5)


def test_the_policy_gradient_is_that_of_the_exact_expected_return() -> None:
    """Of one pull, where it is Σ π(arm)·p(arm) for logits that are the weights."""
    theta = torch.tensor([0.3, -0.2, 0.1], dtype=torch.float64, requires_grad=True)
    (task,) = tasks(1, arms=3, pulls=1, rollouts=40000)
    loss = task.query.loss(lambda x: theta.expand(len(x), 3))
    (actual,) = torch.autograd.grad(-loss, theta)
    (exact,) = torch.autograd.grad(theta.softmax(0) @ task.query.laws[0], theta)
    torch.testing.assert_close(actual, exact, atol=0.01, rtol=0)


def test_settings_are_part_of_the_protocol() -> None:
    assert Bandits().facts() == {"train": None, "val": None, "test": None}
    keys = ({}, {"arms": 4}, {"pulls": 9}, {"rollouts": 3})
    hashes = {Sampler.frozen(Bandits(**k).load()["test"], "test", 0).sha256(3) for k in keys}
    assert len(hashes) == 4
