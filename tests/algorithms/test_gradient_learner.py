"""The engines of learners with an inner loop agree with learn2learn's."""

from __future__ import annotations

from functools import partial
from itertools import product

import pytest
import torch
from torch import Tensor

from metarun.algorithms.anil import ANIL
from metarun.algorithms.gradient_learner import GradientLearner
from metarun.algorithms.maml import MAML
from metarun.algorithms.meta_sgd import MetaSGD
from metarun.backbones.conv4 import Conv4
from metarun.backbones.mlp import MLP
from metarun.errors import Refused
from metarun.testing import tasks
from metarun.training.gradient import accumulate
from tests.algorithms.gradients import finite_differences, gradient, small, smooth
from tests.algorithms.learners import predict, ragged, spec

LEARNERS = {"maml": MAML, "anil": ANIL, "meta_sgd": MetaSGD}
ENGINES = [  # name of a learner, an engine
    (name, engine)
    for name, kind in LEARNERS.items()
    for engine in kind.engines
    if engine != "learn2learn"
]
NETWORKS = {  # of pictures of 9×9
    "strided": partial(Conv4, filters=4, downsample="stride"),
    "averaged": partial(Conv4, filters=4, downsample="stride", readout="mean"),
    "pooled": partial(Conv4, filters=4, downsample="max_pool_ceil"),
    "fully connected": partial(MLP, hidden=[5, 4]),
    "without batch norm": partial(MLP, hidden=[5], batch_norm=False),
}
SETTINGS = [  # order, inner steps, shots, batch norm
    (2, 1, 1, "transductive"),
    (2, 2, 1, "inductive"),
    (2, 2, 6, "transductive"),  # a large support: batch norm in closed form
    (1, 2, 1, "transductive"),
    (1, 1, 6, "inductive"),
]
TOLERANCES = {torch.float32: 1e-4, torch.float64: 1e-8}  # of the largest entry of the gradient


def learner(
    name: str, engine: str, dtype: torch.dtype, net: str = "strided", **options: object
) -> GradientLearner:
    """A learner for 3 ways with scales of batch norm that differ from 1."""
    torch.manual_seed(0)
    network = NETWORKS[net]((1, 9, 9))
    model = LEARNERS[name](network, spec(), inner_lr=0.1, **options).to(dtype)
    with torch.no_grad():
        for p in network.parameters():
            p += 0.1 * torch.rand_like(p)
    model.engine, model.tasks_at_once = engine, 1 if engine == "loop" else 3
    return model


def meta_gradient(model: GradientLearner, shots: int) -> Tensor:
    dtype = next(model.parameters()).dtype
    batch = tasks(4, ways=3, shots=shots, queries=2, shape=(1, 9, 9), dtype=dtype)
    return gradient(model, batch)


@pytest.mark.parametrize(("name", "engine"), ENGINES)
def test_meta_gradients_equal_those_of_learn2learn(name: str, engine: str) -> None:
    """For first and second order, one and several steps, small and large supports."""
    for dtype, (order, steps, shots, batch_norm) in product(TOLERANCES, SETTINGS):
        options = dict(first_order=order == 1, inner_steps=steps, batch_norm=batch_norm)
        expected = meta_gradient(learner(name, "learn2learn", dtype, **options), shots)
        actual = meta_gradient(learner(name, engine, dtype, **options), shots)
        assert expected.abs().max() > 0
        error = (actual - expected).abs().max() / expected.abs().max()
        assert error < TOLERANCES[dtype], (dtype, options, shots)


@pytest.mark.parametrize("name", ["maml", "meta_sgd"])
@pytest.mark.parametrize("net", NETWORKS)
def test_every_layer_has_its_passes(net: str, name: str) -> None:
    none = [(False, 0)] if name == "maml" else []  # step sizes would have no gradient
    for first_order, steps in (*none, (False, 1), (False, 3), (True, 2)):
        options = dict(net=net, first_order=first_order, inner_steps=steps)
        expected = meta_gradient(learner(name, "loop", torch.float64, **options), 2)
        actual = meta_gradient(learner(name, "layerwise", torch.float64, **options), 2)
        torch.testing.assert_close(actual, expected, rtol=1e-8, atol=1e-8)


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
    for engine in (engine for of, engine in ENGINES if of == name):
        actual = predict(learner(name, engine, torch.float64).eval(), batch)
        torch.testing.assert_close(actual, expected)


def test_tasks_of_different_sizes_are_computed_one_by_one() -> None:
    loop, together = smooth(MAML), smooth(MAML)
    for together.engine in ("vmap", "layerwise"):
        together.tasks_at_once = 8
        torch.testing.assert_close(gradient(together, ragged()), gradient(loop, ragged()))


@pytest.mark.parametrize("tasks_at_once", [1, 2, 5, 8])
def test_scores_belong_to_their_tasks_for_any_number_of_tasks_at_once(tasks_at_once: int) -> None:
    batch = tasks(5, ways=3, shots=2, queries=3, shape=(1, 9, 9))
    expected = accumulate(learner("maml", "loop", torch.float64), batch, 0)
    for engine in ("vmap", "layerwise"):
        together = learner("maml", engine, torch.float64)
        together.tasks_at_once = tasks_at_once
        actual = accumulate(together, batch, 0)
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


def test_layerwise_refuses_what_it_cannot_normalise_or_multiply() -> None:
    single = tasks(4, ways=1, shots=1, queries=1, shape=(1, 9, 9), dtype=torch.float64)
    with pytest.raises(Refused, match="cannot normalise one item by itself"):
        accumulate(learner("maml", "layerwise", torch.float64, "fully connected"), single, 0)
    net = torch.nn.Sequential(torch.nn.Linear(9, 4))
    net.features = 4
    model = MAML(net, spec())
    model.engine, model.tasks_at_once = "layerwise", 4
    with pytest.raises(Refused, match=r"a linear layer gets \(3, 1, 9, 9\)"):
        accumulate(model, tasks(4, ways=3, shots=1, queries=1, shape=(1, 9, 9)), 0)
