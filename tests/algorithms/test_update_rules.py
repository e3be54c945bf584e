"""Hand-made update rules take the ways of `torch.optim`."""

from __future__ import annotations

import pytest
import torch

from metarun.algorithms.update_rules import RULES
from metarun.data.objectives import Objectives
from metarun.tasks.gathered import source_of
from metarun.tasks.optimizee import Optimizee
from metarun.tasks.sampler import Sampler

STEPS = 40  # rounding errors of L-BFGS grow tenfold at every step where it overshoots

REFERENCES = {
    "sgd": lambda x, rate: torch.optim.SGD([x], rate),
    "momentum": lambda x, rate: torch.optim.SGD([x], rate, momentum=0.9),
    "adam": lambda x, rate: torch.optim.Adam([x], rate),
    "l_bfgs": lambda x, rate: torch.optim.LBFGS([x], rate, max_iter=1),
}


def of_torch(f: Optimizee, method: str, rate: float, steps: int) -> torch.Tensor:
    x = f.start.clone().requires_grad_()
    optimizer, points = REFERENCES[method](x, rate), [f.start]

    def closure() -> torch.Tensor:
        optimizer.zero_grad()
        loss = f.function(x, *f.data)
        loss.backward()
        return loss

    for _ in range(steps):
        optimizer.step(closure)
        points.append(x.detach().clone())
    return torch.stack(points)


@pytest.mark.parametrize("method", RULES)
@pytest.mark.parametrize("family", ["quadratic", "logistic"])
def test_a_rule_takes_the_steps_of_torch(method: str, family: str) -> None:
    split = Objectives(family=family).load()["test"]
    source = source_of(split, (None, None, None), dtype=torch.float64)
    functions = [t.query for t in Sampler.frozen(source, "test", 0).tasks(range(4))]
    rate = {"l_bfgs": 1.0}.get(method, 0.01) if family == "quadratic" else 0.05
    together = Optimizee.stack(functions)
    rule, x, points = RULES[method](together.start, rate), together.start, [together.start]
    for _ in range(STEPS):
        x = x + rule(together.value_and_gradient(x)[1])
        points.append(x)
    for f, path in zip(functions, torch.stack(points, 1), strict=True):
        expected = of_torch(f, method, rate, STEPS)
        torch.testing.assert_close(path, expected, rtol=1e-5, atol=1e-7)
