"""The nearest mean support item, against hand-worked values and other learners."""

from __future__ import annotations

import numpy as np
import torch

from metarun.algorithms.nearest_centroid import NearestCentroid
from metarun.algorithms.nearest_neighbour import NearestNeighbour
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.conv4 import Conv4
from metarun.backbones.identity import Identity
from tests.algorithms.learners import predict, ragged, spec, task_of
from tests.conftest import tasks


def learner(distance: str = "squared_euclidean") -> NearestCentroid:
    return NearestCentroid(Identity((6,)), spec(), distance=distance)


def test_hand_worked_values() -> None:
    """On a line: items at 0 and 10 have label 0 and the mean 5, an item at 4 has label 1."""
    x = torch.tensor([[0.0], [10.0], [4.0]])
    task = task_of(x, [0, 0, 1], torch.tensor([[1.0], [6.0]]), [1, 0])
    assert predict(learner(), [task])[0].tolist() == [[-16.0, -9.0], [-1.0, -4.0]]


def test_the_prediction_is_the_class_with_the_nearest_mean() -> None:
    for task in [*tasks(3, shots=4, shape=(6,)), *ragged()]:
        support, query, y = (a.numpy() for a in (task.support.x, task.query.x, task.support.y))
        means = np.stack([support[y == label].mean(0) for label in range(task.support.labels)])
        expected = ((query[:, None] - means) ** 2).sum(-1).argmin(1)
        assert np.array_equal(predict(learner(), [task])[0].argmax(-1).numpy(), expected)


def test_with_one_shot_it_equals_the_nearest_neighbour() -> None:
    batch = tasks(3, shots=1, shape=(6,))
    for distance in ("squared_euclidean", "cosine"):
        neighbour = NearestNeighbour(Identity((6,)), spec(), distance=distance)
        expected = predict(neighbour, batch)
        torch.testing.assert_close(predict(learner(distance), batch), expected)


def test_with_a_network_it_equals_an_untrained_prototypical_network() -> None:
    net, batch = Conv4((1, 16, 16), filters=4), tasks(2, shots=3, shape=(1, 16, 16))
    expected = predict(ProtoNet(net, spec()), batch)
    torch.testing.assert_close(predict(NearestCentroid(net, spec()), batch), expected)
