"""The optimizer `trpo`: a step on the rollouts of policies that adapt."""

from __future__ import annotations

import copy

import pytest
import torch

from metarun.algorithms.maml import MAML
from metarun.backbones.mlp import MLP
from metarun.data.navigation2d import Navigation
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task
from metarun.training.gradient import accumulate
from metarun.training.optimizer import trpo

SOURCE = Navigation(rollouts=8, horizon=12).load()["train"].to("cpu", torch.float64)


def learner(tasks_at_once: int = 1) -> MAML:
    torch.manual_seed(0)
    net = MLP((2,), hidden=[8], batch_norm=False)
    maml = MAML(net, SOURCE.spec, inner_lr=0.5).double().train()
    maml.engine, maml.tasks_at_once = "vmap" if tasks_at_once > 1 else "loop", tasks_at_once
    return maml


def loss(maml: MAML, tasks: list[Task], divergence: bool = False) -> float:
    again = [Task(t.support.again(), t.query.again(divergence)) for t in tasks]
    return float(torch.stack([judged.loss.detach() for judged in maml.outer_losses(again)]).mean())


@pytest.mark.parametrize("tasks_at_once", [1, 3])
def test_a_step_improves_the_adapted_policies_within_the_divergence(tasks_at_once: int) -> None:
    maml, tasks = learner(tasks_at_once), Sampler.training(SOURCE, 0).tasks(range(3))
    outer = trpo(maml.parameters(), 10, max_kl=0.02, cg_steps=4)
    accumulate(maml, tasks, 0)
    before, weights = loss(maml, tasks), copy.deepcopy(maml.state_dict())
    norm = outer.step(0, maml, tasks)
    assert norm > 0
    assert loss(maml, tasks) < before
    assert 0.002 < loss(maml, tasks, divergence=True) <= 0.02
    other = learner(4 - tasks_at_once)  # the same for another engine
    accumulate(other, again := Sampler.training(SOURCE, 0).tasks(range(3)), 0)
    trpo(other.parameters(), 10, max_kl=0.02, cg_steps=4).step(0, other, again)
    torch.testing.assert_close(other.state_dict(), maml.state_dict(), rtol=1e-4, atol=1e-6)
    assert outer.optimizer.state_dict()["state"] == {}
    assert any(not torch.equal(w, maml.state_dict()[k]) for k, w in weights.items())


def test_a_gradient_that_is_not_finite_changes_no_parameter() -> None:
    maml = learner()
    before = copy.deepcopy(maml.state_dict())
    for p in maml.parameters():
        p.grad = torch.full_like(p, torch.nan)
    with pytest.raises(FloatingPointError, match="norm of the meta-gradient is nan"):
        trpo(maml.parameters(), 10).step(0, maml, [])
    torch.testing.assert_close(maml.state_dict(), before)
