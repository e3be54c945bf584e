"""The policy of Li & Malik: what it observes, and its gradient where it can be enumerated."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from metarun.algorithms.learned_optimizer_rl import LearnedOptimizerRL, Observer
from metarun.data.functions import MEAN
from metarun.data.objectives import Objectives
from metarun.tasks.gathered import source_of
from metarun.tasks.optimizee import Optimizee
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Spec, Task


def learner(numbers: int, **keys: object) -> LearnedOptimizerRL:
    """A policy whose outputs are not 0."""
    torch.manual_seed(0)
    model = LearnedOptimizerRL(nn.Identity(), Spec((numbers,), numbers, MEAN), **keys).double()
    nn.init.normal_(model.policy[-1].weight, std=0.3)
    return model


def bowl(x: Tensor, a: Tensor) -> Tensor:
    return (a * (x - 1).square()).sum(-1)


def test_observations_are_past_gradients_and_changes_of_the_value() -> None:
    observe = Observer(3, torch.zeros(1, 2))
    seen = [(5.0, [1.0, 2.0]), (4.0, [3.0, 4.0]), (2.0, [5.0, 6.0]), (1.0, [7.0, 8.0])]
    rows = [
        observe(torch.tensor([value]), torch.tensor([gradient]))[0].tolist()
        for value, gradient in seen
    ]
    assert rows[0] == [0, 0, 0, 1, 2, 0, 0, 0, 0]
    assert rows[1] == [0, -1, 0, 3, 4, 1, 2, 0, 0]
    assert rows[3] == [0, -1, -3, 7, 8, 5, 6, 3, 4]
    far = observe(torch.tensor([1e9]), torch.tensor([[1e9, -1e9]]))[0].tolist()
    assert far == [0, 10, 10, 10, -10, 7, 8, 5, 6]


def test_steps_do_not_depend_on_where_the_function_lies() -> None:
    functions = source_of(Objectives(horizon=5).load()["test"], (None,) * 3, dtype=torch.float64)
    (task,), model = Sampler.frozen(functions, "test", 0).tasks([0]), learner(10).eval()
    f = task.support
    moved = replace(f, start=f.start + 3, data=(f.data[0], f.data[1] + f.data[0].sum(1) * 3))
    torch.testing.assert_close(model.adapt(moved)(moved.start) - 3, model.adapt(f)(f.start))


def test_random_steps_lead_from_the_start_to_the_values() -> None:
    f = Optimizee(bowl, (torch.ones(2, 3).double(),), torch.zeros(2, 3).double(), 4, MEAN)
    model = learner(3, rollouts=5)
    seen = model.roll(f)
    assert seen.actions.shape == (2, 4, 5, 3)
    for t in range(5):
        x = seen.actions[:, :t].sum(1)
        torch.testing.assert_close(seen.values[:, t], (x - 1).square().sum(-1))
    with torch.no_grad():
        noise = (seen.actions - model.policy(seen.observations)) / model.log_std.exp()
    assert abs(float(noise.mean())) < 0.4  # of 120 numbers
    assert 0.7 < float(noise.std()) < 1.3


def test_the_gradient_is_that_of_the_enumerated_expectation() -> None:
    """Two steps on a function of one number; Gauss–Hermite quadrature over both random steps."""
    model = learner(1, history=2, hidden=3, rollouts=2000, noise=0.4, discount=1.0)
    f = Optimizee(bowl, (torch.tensor([0.7]).double(),), torch.tensor([-0.5]).double(), 2, MEAN)
    (a,), x0 = f.data, f.start

    def slope(x: Tensor) -> Tensor:
        return 2 * a * (x - 1)

    nodes, weights = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(24))
    weights, nodes = weights / weights.sum(), nodes[:, None]
    zero = torch.zeros(24, 1).double()

    def step(*observation: Tensor) -> Tensor:
        """The next steps (observations, 24) at each node of the noise."""
        mean = model.policy(torch.cat(observation, 1))
        return mean + model.log_std.exp() * nodes.T

    x1 = x0 + step(zero[:1], zero[:1], slope(x0)[None], zero[:1]).T  # (24, 1)
    f0, f1 = (bowl(x, a)[..., None] for x in (x0, x1))
    x2 = x1 + step(zero, f1 - f0, slope(x1), slope(x0).expand(24, 1))  # (24, 24)
    f2 = (a * (x2 - 1).square()) @ weights
    expected = (weights @ f1[:, 0] + weights @ f2) / 2
    exact = torch.autograd.grad(expected, list(model.parameters()))
    exact = torch.cat([g.flatten() for g in exact])
    estimates = []
    for _ in range(20):
        (judged,) = model.outer_losses([Task(f, f)])
        parts = torch.autograd.grad(judged.loss, list(model.parameters()))
        estimates.append(torch.cat([g.flatten() for g in parts]))
    estimates = torch.stack(estimates)
    error = estimates.std(0) / 20**0.5
    assert exact.abs().max() > 20 * error.min()
    assert ((estimates.mean(0) - exact).abs() < 5 * error + 1e-9).all()


def test_evaluation_takes_the_mean_step_and_training_scores_are_means_over_rollouts() -> None:
    f = Optimizee(bowl, (torch.ones(3).double(),), torch.zeros(3).double(), 4, MEAN)
    model = learner(3, rollouts=6).eval()
    paths = [model.adapt(f)(f.start) for _ in range(2)]
    assert torch.equal(*paths)
    x, observe = f.start[None], Observer(25, f.start[None])
    for point in paths[0][1:]:
        x = x + model.policy(observe(*f.value_and_gradient(x)))
        torch.testing.assert_close(point, x[0])
    torch.manual_seed(1)
    (judged,) = model.outer_losses([Task(f, f)])
    torch.manual_seed(1)
    values = model.roll(Optimizee.stack([f])).values[0]
    assert float(judged.scores["loss"]) == float(values[1:].mean())
    assert float(judged.scores["final_loss"]) == float(values[-1].mean())
