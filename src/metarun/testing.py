"""What has to hold for every learner, as tests that a learner of one's own can take over.

In a test file of one's own, one line:

    test_mine = metarun.testing.of("my_learner", config_dir="my/folder")
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.config.compose import compose, plain
from metarun.config.instantiate import blueprint
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Examples, Spec, Task
from metarun.training.gradient import accumulate, adapt

Make = Callable[[str], Learner]  # from the kind of batch norm to the learner


def tasks(
    count: int = 2,
    ways: int = 3,
    shots: int = 2,
    queries: int = 4,
    shape: tuple[int, ...] = (1, 28, 28),
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> list[Task]:
    """Random tasks, of 10 classes, in which a class's items resemble each other."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (count, ways, 1, *shape))
    x = centres + rng.normal(0, 0.3, (count, ways, shots + queries, *shape))
    y = np.tile(np.arange(ways)[:, None], (1, shots + queries))

    def examples(x: np.ndarray, y: np.ndarray) -> Examples:
        x = torch.from_numpy(x.reshape(-1, *shape).copy()).to(dtype)
        return Examples(x, torch.from_numpy(y.reshape(-1).copy()), CLASSIFICATION, ways)

    halves = [(examples(x[t, :, :shots], y[:, :shots]), x[t, :, shots:]) for t in range(count)]
    return [
        Task(support, examples(rest, y[:, shots:]), t, torch.from_numpy(rng.permutation(10)[:ways]))
        for t, (support, rest) in enumerate(halves)
    ]


def build(name: str, batch_norm: str, config_dir: str | None = None) -> Learner:
    """The learner of that name for 3 ways in float64, after a first batch of training tasks.

    With the backbone that its YAML file chooses, made small.
    """
    config = plain(compose([f"algo={name}"], config_dir))
    folders = [Path(config_dir)] if config_dir else []
    small = {"filters": 6} if "filters" in config["backbone"] else {}
    kind = {"batch_norm": batch_norm} if "batch_norm" in config["algo"] else {}
    torch.manual_seed(0)
    net = blueprint("backbone", {**config["backbone"], **small}, folders)((1, 28, 28))
    spec = Spec((1, 28, 28), 3, CLASSIFICATION, shots=2, classes=10)
    learner = blueprint("algo", {**config["algo"], **kind}, folders)(net, spec).double()
    accumulate(learner, tasks(), 0)  # so that running averages are not the first
    learner.zero_grad()
    return learner.eval()


def predict(learner: Learner, given: Sequence[Task]) -> Tensor:
    """Outputs (T, N·Q, N) for the queries of tasks of one size."""
    with torch.no_grad():
        models = zip(given, adapt(learner, given), strict=True)
        return torch.stack([model(task.query.x) for task, model in models])


def evaluation_leaves_parameters_and_buffers_alone(make: Make, batch_norm: str) -> None:
    learner, given = make(batch_norm), tasks(seed=1)
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    first = predict(learner, given)
    assert first.shape == (2, 12, 3)
    assert not first.requires_grad
    again = predict(learner, given)
    assert torch.equal(first, again)
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())


def a_task_is_predicted_as_if_it_were_alone(make: Make, batch_norm: str) -> None:
    """Batch-norm statistics must not carry information between tasks."""
    learner, given = make(batch_norm), tasks(3, seed=1)
    together = predict(learner, given)
    for task, outputs in zip(given, together, strict=True):
        torch.testing.assert_close(predict(learner, [task])[0], outputs)


def only_a_transductive_prediction_depends_on_other_queries(make: Make, batch_norm: str) -> None:
    learner, given = make(batch_norm), tasks(seed=1)
    together = predict(learner, given)
    one = [replace(task, query=task.query[5:6]) for task in given]
    alone = predict(learner, one)
    if batch_norm == "inductive":
        torch.testing.assert_close(alone, together[:, 5:6])
    else:
        assert not torch.allclose(alone, together[:, 5:6])


def the_order_of_support_and_queries_does_not_matter(make: Make, batch_norm: str) -> None:
    learner, given = make(batch_norm), tasks(seed=1)
    outputs = predict(learner, given)
    s, q = torch.arange(6).flip(0), torch.arange(12).flip(0)
    if learner.order_matters:
        s = s.flip(0)
    shuffled = [replace(task, support=task.support[s], query=task.query[q]) for task in given]
    torch.testing.assert_close(predict(learner, shuffled), outputs[:, q])


def a_few_steps_on_one_batch_of_tasks_lower_its_loss(make: Make, batch_norm: str) -> None:
    learner, given = make(batch_norm).train(), tasks()
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        scores = accumulate(learner, given, 0)
        losses.append(float(sum(score["loss"] for score in scores)) / len(scores))
        optimizer.step()
    assert losses[-1] < max(0.7 * losses[0], 1e-6)


CHECKS = (
    evaluation_leaves_parameters_and_buffers_alone,
    a_task_is_predicted_as_if_it_were_alone,
    only_a_transductive_prediction_depends_on_other_queries,
    the_order_of_support_and_queries_does_not_matter,
    a_few_steps_on_one_batch_of_tasks_lower_its_loss,
)


def of(name: str, config_dir: str | None = None) -> Callable[..., None]:
    """A test function, for pytest, of every property of the learner `algo=name`.

    Where the learner has a key `batch_norm`, both kinds are tested.

    Args:
        config_dir: the folder of one's own that holds `algo/NAME.yaml`.
    """
    import pytest

    has_kinds = "batch_norm" in plain(compose([f"algo={name}"], config_dir))["algo"]
    kinds = ("transductive", "inductive") if has_kinds else ("inductive",)

    @pytest.mark.parametrize("batch_norm", kinds)
    @pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
    def test(check: Callable[[Make, str], None], batch_norm: str) -> None:
        check(partial(build, name, config_dir=config_dir), batch_norm)

    return test
