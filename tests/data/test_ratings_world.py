"""The law of the invented ratings: its best possible error and its baselines."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch

from metarun.data.ratings_world import GROUP, QUERIES, TASTE, Ratings, law
from metarun.tasks.gathered import source_of
from metarun.tasks.sampler import Sampler

SPLITS = Ratings(noise=0.5).load()
SOURCE = SPLITS["test"]
RATED = [SOURCE.choose(np.random.default_rng(i)) for i in range(1500)]


def test_a_task_has_3_to_90_ratings_of_different_items_and_10_more() -> None:
    source = source_of(SOURCE, (None, None, None), dtype=torch.float64)
    sizes = []
    for task, rated in zip(Sampler.frozen(source, "test", 0).tasks(range(20)), RATED, strict=False):
        assert len(np.unique(rated.items)) == len(rated.items)
        assert len(task.query) == QUERIES
        assert {name: x.shape[1:] for name, x in task.support.x.items()} == source.spec.inputs
        for name, x in task.query.x.items():
            assert name == "item_mean" or torch.allclose(x.sum(1), torch.ones(10).double())
    sizes = [len(rated.items) - QUERIES for rated in RATED]
    assert (min(sizes), max(sizes)) == (3, 90)


def test_no_prediction_is_better_than_the_best_possible() -> None:
    """The posterior mean reaches the closed form; least squares and ridge do not."""

    def ridge(penalty: float, rated: object) -> np.ndarray:
        v, n = law().factors[rated.items], -QUERIES
        prior = np.array([1, *law().expected(rated.user)])
        residual = (rated.stars - v @ prior)[:n]
        gram = v[:n, 1:].T @ v[:n, 1:] + penalty * np.eye(v.shape[1] - 1)
        return v[n:] @ prior + v[n:, 1:] @ np.linalg.solve(gram, v[:n, 1:].T @ residual)

    def errors(predict: object) -> np.ndarray:
        return np.stack([predict(rated) - rated.stars[-QUERIES:] for rated in RATED])

    best = [SOURCE.best_possible(rated) for rated in RATED]
    mae, mse = (np.mean([scores[name] for scores in best]) for name in ("mae", "loss"))
    reached = errors(lambda rated: SOURCE.best(rated)[0])
    assert np.abs(reached).mean() == pytest.approx(mae, rel=0.05)
    assert np.square(reached).mean() == pytest.approx(mse, rel=0.1)
    exact = (0.5 / TASTE) ** 2  # ridge regression with this penalty is the posterior mean
    np.testing.assert_allclose(errors(partial(ridge, exact)), reached)
    for penalty in (exact / 10, exact * 10):
        assert np.abs(errors(partial(ridge, penalty))).mean() > 1.02 * mae


def test_the_mean_of_an_item_is_its_expected_rating() -> None:
    rng, item = np.random.default_rng(0), 7
    users = [np.array([rng.integers(n) for n in (2, 7, 21)]) for _ in range(20000)]
    ratings = [law().factors[item] @ [1, *law().expected(user)] for user in users]
    tolerance = 5 * np.std(ratings) / 20000**0.5
    assert SOURCE.items.means[item] == pytest.approx(np.mean(ratings), abs=tolerance)
    assert np.std(ratings) > GROUP / 2


def test_the_splits_have_one_law_and_other_users() -> None:
    assert Ratings().facts() == {"train": None, "val": None, "test": None}
    samplers = [Sampler.frozen(SPLITS[split], split, 0) for split in ("val", "test")]
    assert len({sampler.sha256(4) for sampler in samplers}) == 2
    assert SPLITS["val"].sha256 == SOURCE.sha256 != Ratings(noise=0.4).load()["val"].sha256
