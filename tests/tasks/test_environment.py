"""Environments in which a policy acts: rollouts, their repetition, and several tasks at once."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metarun.data.navigation2d import Navigation
from metarun.tasks.environment import Environment, together
from metarun.tasks.policy_gradient import advantages, linear_baseline, returns_to_go
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task

SOURCE = Navigation(rollouts=6, horizon=9, discount=0.9).load()["test"]
SOURCE = SOURCE.to("cpu", torch.float64)
NET = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 4)).double()


def tasks(*numbers: int) -> list[Task]:
    return Sampler.frozen(SOURCE, "test", 0).tasks(numbers)


def test_every_call_samples_new_rollouts_that_depend_on_the_task_only() -> None:
    (task,), (same,) = tasks(3), tasks(3)
    first, second = (task.support.act(NET).actions for _ in range(2))
    assert not torch.equal(first, second)
    assert torch.equal(first, same.support.act(NET).actions)
    assert not torch.equal(first, same.query.act(NET).actions)


def test_several_tasks_at_once_have_the_rollouts_of_each_alone() -> None:
    alone, several = tasks(0, 1, 2), tasks(0, 1, 2)
    joint = together([task.query for task in several])
    for _ in range(2):
        judged = joint.judge_all(NET)
        slopes = torch.autograd.grad(sum(j.loss for j in judged), NET.parameters())
        expected = [task.query.judge(NET) for task in alone]
        for one, other in zip(judged, expected, strict=True):
            torch.testing.assert_close(one.scores, other.scores)
        each = torch.autograd.grad(sum(j.loss for j in expected), NET.parameters())
        torch.testing.assert_close(slopes, each)
    for one, other in zip(several, alone, strict=True):
        torch.testing.assert_close(one.query.taken, other.query.taken)


def test_advantages_are_those_of_a_baseline_for_each_task() -> None:
    several = tasks(0, 1)
    together([task.query for task in several]).act(NET)
    for task in several:
        (taken,) = task.query.taken
        values = linear_baseline(taken.observations, returns_to_go(taken.rewards, 0.9), taken.mask)
        expected = advantages(taken.rewards, values, 0.9, mask=taken.mask)
        torch.testing.assert_close(taken.advantages, expected)


def test_the_scores_of_a_query_contain_the_returns_before_each_inner_step() -> None:
    (task,) = tasks(0)
    for _ in range(2):
        task.support.loss(NET)
    scores = task.query.judge(NET).scores
    for k, taken in enumerate(task.support.taken):
        assert float(scores[f"return_after_{k}"]) == pytest.approx(float(taken.rewards.sum()) / 6)
    rewards = task.query.taken[0].rewards
    assert float(scores["return"]) == pytest.approx(float(rewards.sum()) / 6)
    discounted = 0.9 ** torch.arange(9, dtype=torch.float64) @ rewards
    torch.testing.assert_close(scores["loss"], -discounted.mean())


def test_rollouts_can_be_judged_again_under_other_weights() -> None:
    (task,) = tasks(0)
    first, second = (task.query.judge(NET).loss for _ in range(2))
    again = task.query.again()
    assert [again.judge(NET).loss for _ in range(2)] == [first, second]
    assert len(task.query.taken) == 2


def test_the_divergence_is_that_of_gaussians() -> None:
    (task,) = tasks(0)
    taken = task.query.act(NET)
    other = {name: p + 0.1 for name, p in NET.named_parameters()}

    def model(x: Tensor) -> Tensor:
        return functional_call(NET, other, (x,))

    assert float(task.query.again(divergence=True).loss(NET).detach()) == pytest.approx(0)
    actual = task.query.again(divergence=True).loss(model)
    (m, s), (n, r) = (o.detach().chunk(2, -1) for o in (taken.outputs, model(taken.observations)))
    kl = r - s + ((2 * s).exp() + (m - n) ** 2) / (2 * (2 * r).exp()) - 0.5
    assert float(actual.detach()) == pytest.approx(float(kl.sum(-1).mean()))


class Stops(Environment):
    """Ends after the first step with a positive action; the reward is 1 in each step."""

    inputs, outputs, noise, version = (1,), 2, 1, 1

    def reset(self, laws: Tensor, draw: object) -> Tensor:
        return torch.zeros(len(laws), 1)

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return actions, torch.ones(len(actions)), actions[:, 0] > 0


def test_nothing_counts_after_the_end_of_a_rollout() -> None:
    stops = Stops(torch.zeros(1, 1), [0], 30, 8, 1.0)
    taken = stops.act(lambda x: torch.zeros(len(x), 2))
    for row in range(30):
        positive = (taken.actions[:, row, 0] > 0).nonzero().flatten().tolist()
        length = positive[0] + 1 if positive else 8
        assert taken.mask[:, row].tolist() == [1.0] * length + [0.0] * (8 - length)
    assert torch.equal(taken.rewards, taken.mask)
    assert not taken.advantages[taken.mask == 0].any()
