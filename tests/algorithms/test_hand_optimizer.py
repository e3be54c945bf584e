"""Hand-made optimizers: their paths, and the rate that is best on training functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarun.algorithms.hand_optimizer import RATES, HandOptimizer
from metarun.algorithms.update_rules import RULES
from metarun.data.objectives import Functions, Objectives
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task


def source(**keys: object) -> Functions:
    return source_of(Objectives(**keys).load()["train"], (None, None, None))


def training(functions: Functions, count: int) -> list[Task]:
    return Sampler.training(functions, 0).tasks(range(count))


def learner(functions: Functions, **keys: object) -> HandOptimizer:
    return HandOptimizer(torch.nn.Identity(), functions.spec, **keys).eval()


def test_a_model_is_the_way_of_the_rule_from_the_start() -> None:
    functions = source(horizon=5)
    tasks = training(functions, 3)
    models = learner(functions, method="momentum", lr=0.01).adapt_all([t.support for t in tasks])
    for task, model in zip(tasks, models, strict=True):
        f = task.support
        rule, x = RULES["momentum"](f.start[None], 0.01), f.start[None]
        path = model(f.start)
        assert path.shape == (6, 10)
        for point in path:
            torch.testing.assert_close(point, x[0])
            gradient = f.value_and_gradient(x[0])[1]
            x = x + rule(gradient[None])


@pytest.mark.parametrize(
    ("method", "keys"),
    [("sgd", {"horizon": 12}), ("adam", {"family": "logistic", "horizon": 6})],
)
def test_the_rate_is_the_best_on_the_training_functions(method: str, keys: dict) -> None:
    functions = source(**keys)
    tasks, score = training(functions, 10), functions.spec.objective.headline.score
    tuned = learner(functions, method=method)
    tuned.see_training_tasks(iter(tasks))

    def mean(rate: float) -> float:
        models = learner(functions, method=method, lr=rate).adapt_all([t.support for t in tasks])
        judged = [t.query.judge(m).scores[score] for t, m in zip(tasks, models, strict=True)]
        return float(np.mean(judged))  # nan if one diverges

    scores = [mean(rate) for rate in RATES]
    assert np.isnan(scores[-1]) == (method == "sgd" and "family" not in keys)
    assert float(tuned.rate) == RATES[int(np.nanargmin(scores))]


def test_a_rate_that_is_given_is_kept() -> None:
    functions = source(horizon=3)
    given = learner(functions, lr=0.5)
    given.see_training_tasks(iter(training(functions, 2)))
    assert float(given.rate) == 0.5
