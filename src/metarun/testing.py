"""What has to hold for every learner, as tests that a learner of one's own can take over.

In a test file of one's own, one line:

    test_mine = metarun.testing.of("my_learner", config_dir="my/folder")
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from metarun.algorithms import Algorithm, Task
from metarun.config.compose import compose, plain
from metarun.config.instantiate import blueprint
from metarun.tasks.sampler import Episodes

Make = Callable[[str], Algorithm]  # from the kind of batch norm to the learner


def episodes(
    tasks: int = 2,
    ways: int = 3,
    shots: int = 2,
    queries: int = 4,
    shape: tuple[int, ...] = (1, 28, 28),
    seed: int = 0,
    dtype: torch.dtype = torch.float64,
) -> Episodes:
    """Random episodes, of 10 classes, in which a class's items resemble each other."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(0, 1, (tasks, ways, 1, *shape))
    x = centres + rng.normal(0, 0.3, (tasks, ways, shots + queries, *shape))
    y = np.tile(np.arange(ways)[None, :, None], (tasks, 1, shots + queries))
    parts = (x[:, :, :shots], y[:, :, :shots], x[:, :, shots:], y[:, :, shots:])
    sx, sy, qx, qy = (torch.from_numpy(a.reshape(tasks, -1, *a.shape[3:]).copy()) for a in parts)
    classes = torch.from_numpy(np.stack([rng.permutation(10)[:ways] for _ in range(tasks)]))
    return Episodes(sx.to(dtype), sy, qx.to(dtype), qy, classes)


def build(name: str, batch_norm: str, config_dir: str | None = None) -> Algorithm:
    """The learner of that name for 3 ways in float64, after a first batch of training episodes.

    With the backbone that its YAML file chooses, made small.
    """
    config = plain(compose([f"algo={name}"], config_dir))
    folders = [Path(config_dir)] if config_dir else []
    small = {"filters": 6} if "filters" in config["backbone"] else {}
    kind = {"batch_norm": batch_norm} if "batch_norm" in config["algo"] else {}
    torch.manual_seed(0)
    net = blueprint("backbone", {**config["backbone"], **small}, folders)((1, 28, 28))
    task = Task(outputs=3, shots=2, classes=10)
    learner = blueprint("algo", {**config["algo"], **kind}, folders)(net, task).double()
    learner.accumulate(episodes())  # so that running averages are not the first
    learner.zero_grad()
    return learner


def evaluation_leaves_parameters_and_buffers_alone(make: Make, batch_norm: str) -> None:
    learner, e = make(batch_norm), episodes(seed=1)
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    first = learner.predict(e.support_x, e.support_y, e.query_x)
    assert first.shape == (2, 12, 3)
    assert not first.requires_grad
    again = learner.predict(e.support_x, e.support_y, e.query_x)
    assert torch.equal(first, again)
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())
    assert all(p.grad is None or not p.grad.any() for p in learner.parameters())


def a_task_is_predicted_as_if_it_were_alone(make: Make, batch_norm: str) -> None:
    """Trap: batch-norm statistics that carry information between tasks."""
    learner, e = make(batch_norm), episodes(tasks=3, seed=1)
    together = learner.predict(e.support_x, e.support_y, e.query_x)
    for t in range(3):
        one = slice(t, t + 1)
        alone = learner.predict(e.support_x[one], e.support_y[one], e.query_x[one])
        torch.testing.assert_close(alone[0], together[t])


def only_a_transductive_prediction_depends_on_other_queries(make: Make, batch_norm: str) -> None:
    learner, e = make(batch_norm), episodes(seed=1)
    together = learner.predict(e.support_x, e.support_y, e.query_x)
    alone = learner.predict(e.support_x, e.support_y, e.query_x[:, 5:6])
    if batch_norm == "inductive":
        torch.testing.assert_close(alone, together[:, 5:6])
    else:
        assert not torch.allclose(alone, together[:, 5:6])


def the_order_of_support_and_queries_does_not_matter(make: Make, batch_norm: str) -> None:
    learner, e = make(batch_norm), episodes(seed=1)
    logits = learner.predict(e.support_x, e.support_y, e.query_x)
    s, q = torch.randperm(6), torch.randperm(12)
    shuffled = learner.predict(e.support_x[:, s], e.support_y[:, s], e.query_x[:, q])
    torch.testing.assert_close(shuffled, logits[:, q])


def a_few_steps_on_one_batch_of_tasks_lower_its_loss(make: Make, batch_norm: str) -> None:
    learner, e = make(batch_norm), episodes()
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        losses.append(learner.accumulate(e)["loss"].mean().item())
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
