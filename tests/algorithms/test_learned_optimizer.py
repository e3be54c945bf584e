"""The learned optimizer, against torch's LSTM, finite differences and its truncation."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metarun.algorithms.learned_optimizer import LearnedOptimizer
from metarun.algorithms.lstm import preprocess
from metarun.data.objectives import Objectives
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task
from tests.algorithms.gradients import finite_differences, gradient


def small(horizon: int, count: int = 2) -> list[Task]:
    split = Objectives(horizon=horizon).load()["train"]
    source = source_of(split, (None, None, None), dtype=torch.float64)
    return Sampler.training(source, 0).tasks(range(count))


def learner(**keys: object) -> LearnedOptimizer:
    torch.manual_seed(0)
    spec = Objectives().load()["train"].spec
    return LearnedOptimizer(nn.Identity(), spec, **{"hidden": 3, **keys}).double()


def test_a_step_is_that_of_torchs_lstm_for_each_coordinate() -> None:
    (task,), model = small(4, 1), learner(scale=0.3)
    reference = nn.LSTM(2, 3, num_layers=2).double()
    for k, cell in enumerate(model.cells):
        for name, weight in cell.named_parameters():
            getattr(reference, f"{name}_l{k}").data = weight.data
    with torch.no_grad():
        path = model.eval().adapt(task.support)(task.support.start)
    x, inputs = task.support.start, []
    for point in path[1:]:
        inputs.append(preprocess(task.support.value_and_gradient(x)[1], 10.0).T)  # (10, 2)
        outputs, _ = reference(torch.stack(inputs))
        x = x + 0.3 * model.output(outputs[-1])[:, 0]
        torch.testing.assert_close(point, x)


def test_with_second_derivatives_the_meta_gradient_is_that_of_finite_differences() -> None:
    tasks, exact = small(3), learner(unroll=0, second_order=True, hidden=2, scale=1.0)
    assert exact.slope
    torch.testing.assert_close(gradient(exact, tasks), finite_differences(exact, tasks))
    dropped = learner(unroll=0, hidden=2, scale=1.0)
    assert not dropped.slope
    assert not torch.allclose(gradient(dropped, tasks), gradient(exact, tasks), rtol=1e-5)


def test_the_meta_gradient_is_cut_between_parts_of_the_way() -> None:
    """Two parts of two steps: the sum of the gradients of each part from where it starts."""
    (task,), model = small(4, 1), learner(unroll=2)
    found = gradient(model, [task])
    functions = type(task.query).stack([task.query])
    step, x, state = None, functions.start, None
    parts = []
    for _ in range(2):
        x = x.detach()
        if step is None:
            step = model.begin(functions)
        losses = []
        for _ in range(2):
            x = x + step(*functions.value_and_gradient(x))
            losses.append(functions.function(x, *functions.data).sum())
        parts.append(torch.stack(losses).sum() / 4)
    assert state is None
    each = [torch.autograd.grad(part, list(model.parameters())) for part in parts]
    expected = torch.cat([sum(g).flatten() for g in zip(*each, strict=True)])
    torch.testing.assert_close(found, expected)
    assert not torch.allclose(gradient(learner(unroll=0), [task]), found, rtol=1e-3)


@pytest.mark.parametrize("unroll", [0, 3])
def test_outer_losses_and_scores_are_those_of_the_query(unroll: int) -> None:
    tasks, model = small(4, 3), learner(unroll=unroll)
    for task, judged in zip(tasks, model.outer_losses(tasks), strict=True):
        alone = task.query.judge(model.adapt(task.support))
        torch.testing.assert_close(judged.loss, alone.loss)
        for name, value in judged.scores.items():
            torch.testing.assert_close(value, alone.scores[name])
