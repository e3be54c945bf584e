"""Scores per episode, and confidence intervals over episodes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from metarun.algorithms import Learner
from metarun.stats import interval
from metarun.tasks.task import Examples, Model
from metarun.training.evaluation import TASKS_AT_ONCE, evaluate, evaluate_kinds
from tests.tasks.test_sampler import frozen, split


def test_the_interval_is_that_of_students_t() -> None:
    values = np.random.default_rng(0).uniform(0, 1, 50)
    result = interval(values)
    low, high = scipy.stats.t.interval(0.95, 49, values.mean(), scipy.stats.sem(values))
    assert result["mean"] == pytest.approx((low + high) / 2)
    assert result["ci95"] == pytest.approx((high - low) / 2)


def test_one_episode_has_no_interval() -> None:
    assert interval(np.array([0.5]))["mean"] == 0.5
    assert math.isnan(interval(np.array([0.5]))["ci95"])


class First(Learner):
    """Predicts label 0 with logit 1 for every query, so its accuracy is 1/N."""

    def adapt(self, support: Examples) -> Model:
        return lambda x: torch.eye(5)[:1].expand(len(x), 5)


def test_scores_are_per_episode_for_any_number_of_episodes() -> None:
    sampler = frozen(split(10, 6), 5, 1, 3)
    progress: list[int] = []
    scores = evaluate(First(), sampler, TASKS_AT_ONCE + 3, progress.append)
    assert progress == [TASKS_AT_ONCE, TASKS_AT_ONCE + 3]
    assert scores["accuracy"] == pytest.approx(np.full(TASKS_AT_ONCE + 3, 0.2))
    loss = math.log(math.e + 4) - 1 / 5
    assert scores["loss"] == pytest.approx(np.full(TASKS_AT_ONCE + 3, loss))


class Drawing(Learner):
    """Predicts at random."""

    def adapt(self, support: Examples) -> Model:
        return lambda x: torch.randn(len(x), 5)


def test_random_draws_in_evaluation_are_reproducible() -> None:
    sampler = frozen(split(10, 6), 5, 1, 3)
    torch.manual_seed(5)
    first, again = (evaluate(Drawing(), sampler, 10)["loss"] for _ in range(2))
    assert np.array_equal(first, again)
    assert len(set(first.tolist())) == 10


def test_the_mode_of_the_learner_is_restored() -> None:
    for mode in (True, False):
        learner = First().train(mode)
        evaluate(learner, frozen(split(10, 6), 5, 1, 3), 2)
        assert learner.training is mode


class Counting(First):
    """Counts adaptations, and is surer of label 0 if it is transductive."""

    adaptations = 0

    def adapt(self, support: Examples) -> Model:
        self.adaptations += 1
        return lambda x: First.adapt(self, support)(x) * (1 + (self.batch_norm == "transductive"))


@pytest.mark.parametrize(("alike", "adaptations"), [(True, 3), (False, 6)])
def test_both_kinds_of_batch_norm_share_an_adaptation_that_is_alike(
    alike: bool, adaptations: int
) -> None:
    learner = Counting()
    learner.adapts_alike = alike
    sampler, kinds = frozen(split(10, 6), 5, 1, 3), ["transductive", "inductive"]
    scores = evaluate_kinds(learner, sampler, 3, kinds)
    assert learner.adaptations == adaptations
    assert learner.batch_norm == "inductive"
    assert not np.array_equal(*(of_kind["loss"] for of_kind in scores.values()))
    for kind, of_kind in scores.items():
        learner.batch_norm = kind
        assert np.array_equal(of_kind["loss"], evaluate(learner, sampler, 3)["loss"])
