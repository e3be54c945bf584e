"""RL²: a recurrent policy."""

from __future__ import annotations

import pytest
import torch

from metarun.algorithms.rl2 import RL2
from metarun.backbones.identity import Identity
from metarun.data.bandits import Bandits
from metarun.tasks.sampler import Sampler
from metarun.training.gradient import accumulate
from metarun.training.optimizer import adam, trpo

SOURCE = Bandits(arms=3, pulls=4, rollouts=30).load()["train"].to("cpu", torch.float64)


def learner() -> RL2:
    torch.manual_seed(0)
    return RL2(Identity((4,)), SOURCE.spec, hidden=8).double().train()


def test_the_memory_is_the_same_pull_by_pull_and_for_a_whole_trial() -> None:
    policy, x = learner().policy, torch.randn(5, 7, 4, dtype=torch.float64)
    whole, end = policy.unroll(x, None)
    memory, parts = None, []
    for t in range(5):
        part, memory = policy.unroll(x[t : t + 1], memory)
        parts.append(part)
    torch.testing.assert_close(torch.cat(parts), whole)
    torch.testing.assert_close(memory, end)
    x[0] += 1  # a memory: what was seen first changes what is done last
    assert not torch.allclose(policy.unroll(x, None)[0][-1], whole[-1])


def test_the_loss_of_each_task_is_that_of_its_query_alone() -> None:
    rl2, tasks = learner(), Sampler.training(SOURCE, 0).tasks(range(3))
    judged = rl2.outer_losses(tasks)
    for one, task in zip(judged, Sampler.training(SOURCE, 0).tasks(range(3)), strict=True):
        alone = task.query.judge(rl2.adapt(task.support))
        torch.testing.assert_close(one.loss, alone.loss)
        torch.testing.assert_close(one.scores, alone.scores)


@pytest.mark.parametrize("make", [adam, trpo])
def test_a_few_steps_improve_the_return(make: object) -> None:
    rl2 = learner()
    settings = {"lr": 0.02} if make is adam else {"max_kl": 0.02}
    outer = make(rl2.parameters(), 100, **settings)
    returns = []
    for step in range(40 if make is adam else 15):
        tasks = Sampler.training(SOURCE, 0).tasks(range(20 * step, 20 * step + 20))
        scores = accumulate(rl2, tasks, 0)
        returns.append(float(torch.stack([s["return"] for s in scores]).mean()))
        outer.step(step, rl2, tasks)
    assert sum(returns[-5:]) / 5 > sum(returns[:3]) / 3 + 0.1
