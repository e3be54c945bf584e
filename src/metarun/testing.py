"""Tests that every learner has to pass, for use with custom learners.

A test file for a custom learner needs one line:

    test_mine = metarun.testing.of("my_learner", config_dir="my/folder")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.config.compose import compose, plain
from metarun.config.instantiate import blueprint
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Examples, Spec, Task
from metarun.training.gradient import accumulate, adapt

Make = Callable[[str], Learner]  # maps the value of `batch_norm` to a learner


def tasks(
    count: int = 2,
    ways: int = 3,
    shots: int = 2,
    queries: int = 4,
    shape: tuple[int, ...] = (1, 28, 28),
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Task]:
    """Return `count` random tasks with 10 classes in all; items of a class resemble each other."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (count, ways, 1, *shape))
    x = centres + rng.normal(0, 0.3, (count, ways, shots + queries, *shape))
    y = np.tile(np.arange(ways)[:, None], (1, shots + queries))

    def examples(x: np.ndarray, y: np.ndarray) -> Examples:
        x = torch.from_numpy(x.reshape(-1, *shape).copy()).to(dtype)
        return Examples(x, torch.from_numpy(y.reshape(-1).copy()), CLASSIFICATION, ways)

    halves = [
        (examples(x[t, :, :shots], y[:, :shots]), examples(x[t, :, shots:], y[:, shots:]))
        for t in range(count)
    ]
    return [
        Task(support, query, t, torch.from_numpy(rng.permutation(10)[:ways]))
        for t, (support, query) in enumerate(halves)
    ]


@cache
def _configuration(name: str, config_dir: str | None) -> dict[str, Any]:
    return plain(compose([f"algo={name}"], config_dir))


def build(name: str, batch_norm: str, config_dir: str | None = None) -> Learner:
    """Return the learner `algo=name` for 3 ways in float64, after one training batch.

    Its backbone is a small version of the one that the learner's YAML file selects.
    """
    config = _configuration(name, config_dir)
    folders = [Path(config_dir)] if config_dir else []
    size = {"filters": 6} if "filters" in config["backbone"] else {}
    statistics = {"batch_norm": batch_norm} if "batch_norm" in config["algo"] else {}
    torch.manual_seed(0)
    net = blueprint("backbone", {**config["backbone"], **size}, folders)((1, 28, 28))
    spec = Spec((1, 28, 28), 3, CLASSIFICATION, shots=2, classes=10)
    learner = blueprint("algo", {**config["algo"], **statistics}, folders)(net, spec).double()
    if learner.learns:
        accumulate(learner, tasks(), 0)  # updates the running averages
    learner.zero_grad()
    return learner.eval()


def predict(learner: Learner, batch: Sequence[Task]) -> Tensor:
    """Return the outputs (T, N·Q, N) for the queries of tasks of equal size."""
    with torch.no_grad():
        models = adapt(learner, batch)
        return torch.stack([m(task.query.x) for task, m in zip(batch, models, strict=True)])


def evaluation_does_not_change_parameters_or_buffers(make: Make, batch_norm: str) -> None:
    """Predictions have no gradient, are reproducible and do not modify the learner."""
    learner, batch = make(batch_norm), tasks(seed=1)
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    first = predict(learner, batch)
    assert first.shape == (2, 12, 3)
    assert not first.requires_grad
    assert torch.equal(first, predict(learner, batch))
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())


def predictions_do_not_depend_on_other_tasks(make: Make, batch_norm: str) -> None:
    """Batch-norm statistics must not carry information between tasks."""
    learner, batch = make(batch_norm), tasks(3, seed=1)
    for task, outputs in zip(batch, predict(learner, batch), strict=True):
        torch.testing.assert_close(predict(learner, [task])[0], outputs)


def only_transductive_predictions_depend_on_other_queries(make: Make, batch_norm: str) -> None:
    """A single query has the same outputs as in a batch, unless prediction is transductive."""
    learner, batch = make(batch_norm), tasks(seed=1)
    expected = predict(learner, batch)[:, 5:6]
    alone = predict(learner, [replace(task, query=task.query[5:6]) for task in batch])
    if batch_norm == "inductive":
        torch.testing.assert_close(alone, expected)
    else:
        assert not torch.allclose(alone, expected)


def a_model_follows_the_kind_of_batch_norm(make: Make, batch_norm: str) -> None:
    """With `adapts_alike`, the models of one adaptation serve both kinds of batch norm."""
    other = "transductive" if batch_norm == "inductive" else "inductive"
    learner, batch = make(batch_norm), tasks(seed=1)
    if not learner.adapts_alike:
        return
    with torch.no_grad():
        models = adapt(learner, batch)
        learner.batch_norm = other
        outputs = torch.stack([m(task.query.x) for task, m in zip(batch, models, strict=True)])
    torch.testing.assert_close(outputs, predict(make(other), batch))


def the_order_of_support_and_queries_does_not_matter(make: Make, batch_norm: str) -> None:
    """Reversing queries and, unless `order_matters`, the support only reorders the outputs."""
    learner, batch = make(batch_norm), tasks(seed=1)
    outputs = predict(learner, batch)
    s, q = torch.arange(6).flip(0), torch.arange(12).flip(0)
    if learner.order_matters:
        s = s.flip(0)
    shuffled = [replace(task, support=task.support[s], query=task.query[q]) for task in batch]
    torch.testing.assert_close(predict(learner, shuffled), outputs[:, q])


def a_few_steps_on_one_batch_lower_its_loss(make: Make, batch_norm: str) -> None:
    """The outer loss decreases by 30 % in 20 steps of Adam, if there is anything to train."""
    learner, batch = make(batch_norm).train(), tasks()
    if not learner.learns:
        return
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        scores = accumulate(learner, batch, 0)
        losses.append(float(sum(score["loss"] for score in scores)) / len(scores))
        optimizer.step()
    assert losses[-1] < max(0.7 * losses[0], 1e-6)


CHECKS = (
    evaluation_does_not_change_parameters_or_buffers,
    predictions_do_not_depend_on_other_tasks,
    only_transductive_predictions_depend_on_other_queries,
    a_model_follows_the_kind_of_batch_norm,
    the_order_of_support_and_queries_does_not_matter,
    a_few_steps_on_one_batch_lower_its_loss,
)


def of(name: str, config_dir: str | None = None) -> Callable[..., None]:
    """Return a parametrized pytest function that runs all checks on the learner `algo=name`.

    If the learner has a key `batch_norm`, both of its values are tested.

    Args:
        name: value of the key `algo`.
        config_dir: folder that contains `algo/NAME.yaml` of a custom learner.
    """
    import pytest

    has_key = "batch_norm" in _configuration(name, config_dir)["algo"]
    kinds = ("transductive", "inductive") if has_key else ("inductive",)

    @pytest.mark.parametrize("batch_norm", kinds)
    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test(check: Callable[[Make, str], None], batch_norm: str) -> None:
        check(partial(build, name, config_dir=config_dir), batch_norm)

    return test
