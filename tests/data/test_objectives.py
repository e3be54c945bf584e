"""Families of functions: a second implementation of each, and the least values that are known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from torch import nn
from torch.nn import functional as F

from metarun.data.functions import FAMILIES, PENALTY
from metarun.data.objectives import Functions, Objectives
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler


def source(family: str) -> Functions:
    split = Objectives(family=family).load()["test"]
    return source_of(split, (None, None, None), dtype=torch.float64)


def network(x: torch.Tensor) -> nn.Module:
    """A network with two inputs, two hidden units and two outputs, with the weights x (12)."""
    net = nn.Sequential(nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).double()
    w1, b1, w2, b2 = x.split([4, 2, 4, 2])
    weights = {"0.weight": w1.view(2, 2).T, "0.bias": b1, "2.weight": w2.view(2, 2).T, "2.bias": b2}
    net.load_state_dict(weights)
    return net


def again(family: str, x: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> float:
    """The functions as sums over data, one after another."""
    w, bias = x[:-1], x[-1]
    match family:
        case "quadratic":
            return sum(float(row @ x - y) ** 2 for row, y in zip(a, b, strict=True))
        case "logistic":
            loss = F.binary_cross_entropy_with_logits(a @ w + bias, b)
            return float(loss) + PENALTY / 2 * float(w @ w)
        case "robust":
            residuals = (a @ w + bias - b).tolist()
            return float(np.mean([r**2 / (1 + r**2) for r in residuals]))
    with torch.no_grad():
        return float(F.cross_entropy(network(x)(a), b.long())) + PENALTY / 2 * float(x @ x)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_function_has_the_values_of_a_second_implementation(family: str) -> None:
    tasks = Sampler.frozen(source(family), "test", 0).tasks(range(3))
    rng = torch.Generator().manual_seed(0)
    for task in tasks:
        assert task.support is task.query
        x = torch.randn(4, len(task.query.start), generator=rng, dtype=torch.float64)
        expected = [again(family, point, *task.query.data) for point in x]
        torch.testing.assert_close(task.query.along(x), torch.tensor(expected).double())


@pytest.mark.parametrize("family", ["quadratic", "logistic"])
def test_no_point_has_less_than_the_least_value(family: str) -> None:
    functions = source(family)
    for i in range(5):
        choices = functions.choose(np.random.default_rng(i))
        best, f = functions.best_possible(choices), functions.build(choices, i).query
        found = minimize(
            lambda x, f=f: float(f.function(torch.from_numpy(x), *f.data)),
            choices[0],
            jac=lambda x, f=f: f.value_and_gradient(torch.from_numpy(x))[1].numpy(),
            options={"gtol": 1e-9, "maxiter": 2000},
        )
        assert best["loss"] == best["final_loss"] == pytest.approx(found.fun, abs=1e-6)
        assert best["loss"] <= found.fun + 1e-9  # torch's softplus(x) is x from 20 on


def test_the_least_value_is_unknown_where_the_function_is_not_convex() -> None:
    for family in ("robust", "network"):
        assert source(family).best_possible(source(family).choose(np.random.default_rng(0))) == {}


def test_laws_and_sizes_are_those_of_the_papers() -> None:
    sizes = {name: (f.dimension, f.horizon) for name, f in FAMILIES.items()}
    assert sizes == {
        "quadratic": (10, 100),
        "logistic": (4, 40),
        "robust": (4, 40),
        "network": (12, 40),
    }
    rng = np.random.default_rng(0)
    w, y = zip(*(FAMILIES["quadratic"].draw(rng) for _ in range(500)), strict=True)
    for values in (w, y):
        assert np.mean(values) == pytest.approx(0, abs=0.05)
        assert np.std(values) == pytest.approx(1, abs=0.05)
    for _ in range(50):
        assert set(FAMILIES["network"].draw(rng)[1]) == {0, 1}
        assert FAMILIES["logistic"].draw(rng)[1].tolist() == [0] * 50 + [1] * 50
        assert FAMILIES["robust"].draw(rng)[0].shape == (100, 3)


def test_the_tasks_depend_on_family_and_horizon_and_the_split() -> None:
    assert Objectives().facts() == {"train": None, "val": None, "test": None}
    samplers = [
        Sampler.frozen(Objectives(family=family, horizon=horizon).load()[split], split, 0)
        for family, horizon in (("quadratic", 100), ("quadratic", 20), ("logistic", 40))
        for split in ("val", "test")
    ]
    assert len({sampler.sha256(3) for sampler in samplers}) == 6
    (task,) = samplers[2].tasks([0])
    assert task.support.horizon == 20
