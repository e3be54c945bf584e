"""The interval is over episodes; scores are those of each episode."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from metarun.algorithms import Learner
from metarun.stats import interval
from metarun.tasks.task import Examples, Model
from metarun.training.evaluation import TASKS_AT_ONCE, evaluate
from tests.tasks.test_sampler import frozen, split


def test_the_interval_is_students() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 50)
    found = interval(values)
    low, high = scipy.stats.t.interval(0.95, 49, values.mean(), scipy.stats.sem(values))
    assert found["mean"] == pytest.approx((low + high) / 2)
    assert found["ci95"] == pytest.approx((high - low) / 2)


def test_one_episode_has_no_interval() -> None:
    assert interval(np.array([0.5]))["mean"] == 0.5
    assert math.isnan(interval(np.array([0.5]))["ci95"])


class First(Learner):
    """Says label 0 with logit 1 to every query, so it is right once in N."""

    def adapt(self, support: Examples) -> Model:
        return lambda x: torch.eye(5)[:1].expand(len(x), 5)


def test_scores_are_per_episode_whatever_the_number() -> None:
    sampler = frozen(split(10, 6), 5, 1, 3)
    seen: list[int] = []
    scores = evaluate(First(), sampler, TASKS_AT_ONCE + 3, seen.append)
    assert seen == [TASKS_AT_ONCE, TASKS_AT_ONCE + 3]
    assert scores["accuracy"] == pytest.approx(np.full(TASKS_AT_ONCE + 3, 0.2))
    loss = math.log(math.e + 4) - 1 / 5
    assert scores["loss"] == pytest.approx(np.full(TASKS_AT_ONCE + 3, loss))


class Drawing(Learner):
    """Answers at random."""

    def adapt(self, support: Examples) -> Model:
        return lambda x: torch.randn(len(x), 5)


def test_what_a_learner_draws_in_evaluation_is_the_same_each_time() -> None:
    sampler = frozen(split(10, 6), 5, 1, 3)
    torch.manual_seed(5)
    first, again = (evaluate(Drawing(), sampler, 10)["loss"] for _ in range(2))
    assert np.array_equal(first, again)
    assert len(set(first.tolist())) == 10


def test_a_learner_is_left_in_the_mode_that_it_was_in() -> None:
    for mode in (True, False):
        learner = First().train(mode)
        evaluate(learner, frozen(split(10, 6), 5, 1, 3), 2)
        assert learner.training is mode
