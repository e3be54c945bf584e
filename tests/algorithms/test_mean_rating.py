"""The means of users and items."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from metarun.algorithms.mean_rating import MeanRating
from metarun.data.ratings_world import Ratings
from metarun.errors import Refused
from metarun.tasks.objectives import REGRESSION
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Spec
from tests.algorithms.learners import spec

SOURCE = Ratings().load()["test"]
(TASK,) = Sampler.frozen(SOURCE, "test", 0).tasks([0])


def test_the_mean_of_the_user_ranks_like_a_random_order() -> None:
    model = MeanRating(nn.Identity(), SOURCE.spec, of="user").adapt(TASK.support)
    outputs = model(TASK.query.x)
    assert outputs.shape == TASK.query.y.shape
    assert torch.equal(outputs, TASK.support.y.mean().expand(10, 1))
    scores = TASK.query.judged(outputs).scores
    orders = [TASK.query.judged(torch.rand(10, 1)).scores["ndcg3"] for _ in range(500)]
    assert float(scores["ndcg3"]) == pytest.approx(float(torch.stack(orders).mean()), abs=0.05)


def test_the_mean_of_the_item_is_an_input() -> None:
    model = MeanRating(nn.Identity(), SOURCE.spec, of="item").adapt(TASK.support)
    assert torch.equal(model(TASK.query.x), TASK.query.x["item_mean"][:, None])


def test_classes_and_items_without_means_are_refused() -> None:
    with pytest.raises(Refused, match="algo=user_mean: predicts ratings; "):
        MeanRating(nn.Identity(), spec(), of="user")
    with pytest.raises(Refused, match="algo=item_mean: the items have no mean rating, "):
        MeanRating(nn.Identity(), Spec((1,), 1, REGRESSION), of="item")
    MeanRating(nn.Identity(), Spec((1,), 1, REGRESSION), of="user")
