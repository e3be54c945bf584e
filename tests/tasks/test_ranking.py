"""Scores of ratings, against scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import ndcg_score

from metarun.tasks.ranking import RATINGS, ndcg

half_stars = st.integers(1, 10).map(lambda n: n / 2)
rows = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(st.lists(half_stars, min_size=n, max_size=n),) * 2)
)


@settings(max_examples=60, deadline=None)
@given(rows, st.integers(1, 5))
def test_ndcg_equals_that_of_scikit_learn_also_with_ties(
    ratings: tuple[list[float], list[float]], places: int
) -> None:
    outputs, y = (torch.tensor(values, dtype=torch.float64) for values in ratings)
    expected = ndcg_score([2 ** y.numpy() - 1], [outputs.numpy()], k=places)
    assert float(ndcg(outputs, y, places)) == pytest.approx(expected, abs=1e-12)


def test_equal_predictions_have_the_mean_ndcg_of_all_orders() -> None:
    y, rng = torch.tensor([5.0, 1.0, 4.0, 2.0]).double(), np.random.default_rng(0)
    orders = [ndcg(torch.from_numpy(rng.permutation(4) * 1.0), y, 3) for _ in range(1000)]
    assert float(torch.stack(orders).mean()) == pytest.approx(
        float(ndcg(torch.full((4,), 3.0).double(), y, 3)), abs=0.03
    )


def test_a_perfect_prediction_has_no_error_and_ranks_perfectly() -> None:
    """Ratings of an invented world may be negative; such an item gains nothing."""
    y = torch.tensor([[4.5], [-1.0], [2.0]])
    assert RATINGS.scores(y, y) == {"mae": 0, "ndcg1": 1, "ndcg3": 1}
    worst = RATINGS.scores(-y, y)
    assert worst["ndcg1"] == 0 < worst["ndcg3"] < 1
    assert RATINGS.loss(y + 2, y) == 4
