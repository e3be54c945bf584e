"""The engines of learners with an inner loop agree with learn2learn's."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from metarun.algorithms.anil import ANIL
from metarun.algorithms.gradient_learner import GradientLearner
from metarun.algorithms.maml import MAML
from metarun.algorithms.meta_sgd import MetaSGD
from metarun.backbones.conv4 import Conv4
from metarun.testing import tasks
from metarun.training.gradient import accumulate
from tests.algorithms.gradients import finite_differences, gradient, small, smooth
from tests.algorithms.learners import predict, ragged, spec

LEARNERS = {"maml": MAML, "anil": ANIL, "meta_sgd": MetaSGD}
SETTINGS = [  # order, inner steps, shots, batch norm
    (2, 1, 1, "transductive"),
    (2, 2, 1, "inductive"),
    (2, 2, 6, "transductive"),  # a large support: batch norm in closed form
    (1, 2, 1, "transductive"),
    (1, 1, 6, "inductive"),
]
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-8}  # of the largest entry of the gradient


def learner(name: str, engine: str, dtype: torch.dtype, **options: object) -> GradientLearner:
    """A learner for 3 ways with scales of batch norm that differ from 1."""
    torch.manual_seed(0)
    net = Conv4((1, 9, 9), filters=4, downsample="stride")
    model = LEARNERS[name](net, spec(), inner_lr=0.1, **options).to(dtype)
    with torch.no_grad():
        for p in net.parameters():
            p += 0.1 * torch.rand_like(p)
    model.engine, model.tasks_at_once = engine, 3 if engine == "vmap" else 1
    return model


def meta_gradient(model: GradientLearner, shots: int) -> Tensor:
    dtype = next(model.parameters()).dtype
    batch = tasks(4, ways=3, shots=shots, queries=2, shape=(1, 9, 9), dtype=dtype)
    return gradient(model, batch)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
@pytest.mark.parametrize("name", LEARNERS)
def test_meta_gradients_equal_those_of_learn2learn(name: str, engine: str) -> None:
    """For first and second order, one and several steps, small and large supports."""
    for dtype, (order, steps, shots, batch_norm) in product(TOLERANCES, SETTINGS):
        options = dict(first_order=order == 1, inner_steps=steps, batch_norm=batch_norm)
        expected = meta_gradient(learner(name, "learn2learn", dtype, **options), shots)
        actual = meta_gradient(learner(name, engine, dtype, **options), shots)
        assert expected.abs().max() > 0
        error = (actual - expected).abs().max() / expected.abs().max()
        assert error < TOLERANCES[dtype], (dtype, options, shots)


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
@pytest.mark.parametrize("name", LEARNERS)
def test_the_meta_gradient_of_vmap_equals_finite_differences(name: str, batch_norm: str) -> None:
    model = smooth(LEARNERS[name], inner_lr=0.3, inner_steps=2, batch_norm=batch_norm)
    expected = finite_differences(model, small())
    model.engine, model.tasks_at_once = "vmap", 2
    torch.testing.assert_close(gradient(model, small()), expected, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", LEARNERS)
def test_predictions_equal_those_of_learn2learn(name: str) -> None:
    batch = tasks(3, ways=3, shots=2, queries=4, shape=(1, 9, 9))
    expected = predict(learner(name, "learn2learn", torch.float64).eval(), batch)
    for engine in ("loop", "vmap"):
        actual = predict(learner(name, engine, torch.float64).eval(), batch)
        torch.testing.assert_close(actual, expected)


def test_tasks_of_different_sizes_are_computed_one_by_one() -> None:
    loop, together = smooth(MAML), smooth(MAML)
    together.engine, together.tasks_at_once = "vmap", 8
    torch.testing.assert_close(gradient(together, ragged()), gradient(loop, ragged()))


@pytest.mark.parametrize("tasks_at_once", [1, 2, 5, 8])
def test_scores_belong_to_their_tasks_for_any_number_of_tasks_at_once(tasks_at_once: int) -> None:
    batch = small(5)
    loop, together = smooth(MAML), smooth(MAML)
    together.engine, together.tasks_at_once = "vmap", tasks_at_once
    expected, actual = accumulate(loop, batch, 0), accumulate(together, batch, 0)
    assert len(actual) == 5
    for one, other in zip(actual, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_running_averages_of_a_network_of_ones_own_are_those_of_learn2learn() -> None:
    averages = []
    for engine in ("loop", "learn2learn"):
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.BatchNorm1d(4))
        net.features = 4
        model = MAML(net, spec()).double()
        model.engine = engine
        accumulate(model, small(), 0)
        averages.append(net[1].state_dict())
    assert averages[0]["num_batches_tracked"] == 4  # supports and queries of two tasks
    torch.testing.assert_close(*averages)
