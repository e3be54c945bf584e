"""Demonstrations of an exact expert, and policies that imitate it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metarun.data.navigation2d import best_return
from metarun.data.navigation2d_imitation import Imitation
from metarun.tasks.sampler import Sampler


def tasks(count: int, demonstrations: int = 1) -> list:
    source = Imitation(demonstrations=demonstrations).load()["test"].to("cpu", torch.float64)
    return Sampler.frozen(source, "test", 0).tasks(range(count))


def test_a_demonstration_walks_from_the_origin_to_the_goal() -> None:
    for task in tasks(5):
        points, goal = task.support.x, task.query.goal
        assert len(points) == len(task.support.y) == 10
        assert not points[0].any()
        torch.testing.assert_close(points[1:], points[:-1] + 0.1 * task.support.y[:-1])
        torch.testing.assert_close(points[-1], goal)  # at most half the square: five steps
        assert (task.support.y.abs() <= 1).all()


def test_further_demonstrations_start_anywhere_in_the_square() -> None:
    (task,) = tasks(1, demonstrations=4)
    starts = task.support.x.view(10, 4, 2)[0]
    assert not starts[0].any()
    assert (starts[1:].abs().amax(1) > 0.01).all()
    assert (starts.abs() <= 0.5).all()
    gaps = (task.support.x.view(10, 4, 2) - task.query.goal).abs().amax(2)
    torch.testing.assert_close(gaps[1:], (gaps[:-1] - 0.1).clamp_min(0))


@torch.no_grad()
def test_the_expert_has_the_best_possible_scores_and_is_shown_in_the_query() -> None:
    source = Imitation().load()["test"]
    sampler = Sampler.frozen(source, "test", 0)
    for task in tasks(5):
        goal = task.query.goal

        def expert(x: Tensor, goal: Tensor = goal) -> Tensor:
            return (10 * (goal - x)).clamp(-1, 1)

        scores = {k: float(v) for k, v in task.query.judge(expert).scores.items()}
        best = source.best_possible(sampler.choose(task.number))
        assert scores["return"] == pytest.approx(best["return"])
        assert scores["mse"] == pytest.approx(0)
        assert scores["loss"] == scores["mse"]
        slower = {
            k: float(v) for k, v in task.query.judge(lambda x: 0.5 * expert(x)).scores.items()
        }
        assert slower["return"] < scores["return"]


def test_training_computes_no_return() -> None:
    (task,) = tasks(1)
    model = torch.nn.Linear(2, 2).double()
    assert task.query.judge(model).scores.keys() == {"loss", "mse"}


def test_standing_at_the_goal_costs_nothing_more() -> None:
    assert best_return(np.array([0.05, 0.0])) == pytest.approx(0)
    assert best_return(np.array([0.15, 0.0])) == pytest.approx(-0.05)
    assert best_return(np.array([0.3, 0.4])) == pytest.approx(
        -np.hypot(0.2, 0.3) - np.hypot(0.1, 0.2) - 0.1
    )
