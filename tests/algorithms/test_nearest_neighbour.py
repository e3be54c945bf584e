"""The nearest support item, against hand-worked values and the rule in NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from metarun.algorithms.nearest_neighbour import NearestNeighbour, similarity
from metarun.backbones.identity import Identity
from tests.algorithms.learners import predict, ragged, spec, support_in_order, task_of
from tests.conftest import tasks


def learner(**keys: Any) -> NearestNeighbour:
    return NearestNeighbour(Identity((6,)), spec(), **keys)


def test_hand_worked_values() -> None:
    """On a line: items at 0 and 10 have label 0, an item at 4 has label 1."""
    x = torch.tensor([[0.0], [10.0], [4.0]])
    task = task_of(x, [0, 0, 1], torch.tensor([[1.0], [6.0], [8.0]]), [0, 1, 0])
    logits = predict(learner(), [task])[0]
    assert logits.tolist() == [[-1.0, -9.0], [-16.0, -4.0], [-4.0, -16.0]]


def test_the_cosine_does_not_depend_on_lengths() -> None:
    x = torch.tensor([[1.0, 0.0], [0.0, 5.0]])
    task = task_of(x, [0, 1], torch.tensor([[100.0, 0.0], [3.0, 4.0]]), [0, 1])
    logits = predict(learner(distance="cosine"), [task])[0]
    torch.testing.assert_close(logits, torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    assert predict(learner(), [task])[0].argmax(-1).tolist() == [0, 1]


@pytest.mark.parametrize("distance", ["squared_euclidean", "cosine"])
def test_the_prediction_is_the_label_of_the_nearest_item(distance: str) -> None:
    for task in [*tasks(3, shots=4, shape=(6,)), *ragged()]:
        support, query = task.support.x.numpy(), task.query.x.numpy()
        if distance == "cosine":
            support, query = (a / np.linalg.norm(a, axis=1)[:, None] for a in (support, query))
        far = ((query[:, None] - support) ** 2).sum(-1)
        expected = task.support.y.numpy()[far.argmin(1)]
        predicted = predict(learner(distance=distance), [task])[0].argmax(-1)
        assert np.array_equal(predicted.numpy(), expected)


def test_the_order_of_the_support_does_not_matter() -> None:
    (task,) = tasks(1, shots=2, shape=(6,))
    shuffled = support_in_order(task, [4, 1, 5, 0, 3, 2])
    assert torch.equal(predict(learner(), [task]), predict(learner(), [shuffled]))


def test_small_differences_of_large_values_are_exact() -> None:
    """Squared norms of 10⁸ would hide a difference of 1 in float32, with more than 25 rows."""
    references = torch.full((30, 2), 1e4)
    references[:, 0] += torch.arange(30)
    distance = -similarity(references, references, "squared_euclidean")
    assert torch.equal(distance[0], torch.arange(30).square().float())


def test_there_is_nothing_to_train() -> None:
    assert list(learner().parameters()) == []
    assert not NearestNeighbour.learns
