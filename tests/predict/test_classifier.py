"""Scores are those of the learner, computed by hand; no item depends on another one."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarun.algorithms import Learner
from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.conv4 import Conv4
from metarun.errors import Refused, RunFailed
from metarun.predict.classifier import MAX_LEFT_OUT, Classifier, check_independent, chunk_size
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Spec

LABELS = np.array([0, 0, 0, 1, 2, 2])


def classifier(kind: type[Learner] = ProtoNet, **keys: object) -> Classifier:
    torch.manual_seed(0)
    net = Conv4((1, 16, 16), filters=4)
    learner = kind(net, Spec((1, 16, 16), 3, CLASSIFICATION, 1, 5), **keys)
    return Classifier(learner.eval(), torch.device("cpu"), torch.float32)


def items(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 1, 16, 16), np.uint8)


@torch.no_grad()
def by_hand(net: torch.nn.Module, support: np.ndarray, y: np.ndarray, query: np.ndarray):
    """Negative squared distances to the mean embeddings."""
    z, q = (net(torch.from_numpy(x / np.float32(255))).double().numpy() for x in (support, query))
    means = np.stack([z[y == label].mean(0) for label in range(3)])
    return -((q[:, None] - means) ** 2).sum(2)


def test_scores_are_the_logits_of_the_learner() -> None:
    of, support, query = classifier(), items(6), items(5, seed=1)
    scores = of.adapt(support, LABELS)(query)
    assert (scores.shape, scores.dtype) == ((5, 3), np.float64)
    expected = by_hand(of.learner.backbone, support, LABELS, query)
    np.testing.assert_allclose(scores, expected, rtol=1e-4)


@pytest.mark.parametrize(
    ("kind", "keys"), [(ProtoNet, {}), (MAML, {"batch_norm": "inductive", "test_inner_steps": 1})]
)
def test_an_item_has_the_same_scores_alone(kind: type[Learner], keys: dict) -> None:
    scores, query = classifier(kind, **keys).adapt(items(6), LABELS), items(5, seed=1)
    together = scores(query)
    alone = np.concatenate([scores(query[i : i + 1]) for i in range(5)])
    np.testing.assert_allclose(alone, together, rtol=1e-4, atol=1e-5)
    check_independent(scores, query, "own")


def test_a_transductive_learner_is_refused() -> None:
    scores = classifier(ProtoNet, batch_norm="transductive").adapt(items(6), LABELS)
    with pytest.raises(Refused, match="depend on the other items"):
        check_independent(scores, items(5, seed=1), "own")


def test_items_are_left_out_one_by_one() -> None:
    of, support, labels = classifier(), items(6), np.array([0, 0, 1, 1, 2, 2])
    done: list[int] = []
    scores, of_items = of.left_out(support, labels, done.append)
    assert (done, of_items.tolist()) == ([1, 2, 3, 4, 5, 6], labels.tolist())
    for out in range(6):
        rest = np.delete(np.arange(6), out)
        one = by_hand(of.learner.backbone, support[rest], labels[rest], support[out : out + 1])
        np.testing.assert_allclose(scores[out], one[0], rtol=1e-4)


def test_at_most_so_many_items_of_a_large_support_are_left_out(monkeypatch) -> None:
    labels = np.arange(3).repeat(50)
    monkeypatch.setattr(Classifier, "adapt", lambda self, x, y: lambda items: np.zeros((1, 3)))
    scores, of_items = classifier().left_out(np.zeros((150, 1)), labels, lambda done: None)
    assert len(scores) == len(of_items) == MAX_LEFT_OUT
    assert set(of_items.tolist()) == {0, 1, 2}


def test_scores_that_are_not_finite_fail_the_command() -> None:
    of = classifier()
    torch.nn.init.constant_(next(of.learner.parameters()), torch.nan)
    with pytest.raises(RunFailed, match="not finite"):
        of.adapt(items(6), LABELS)(items(2))


def test_a_chunk_grows_with_the_support_up_to_a_limit() -> None:
    assert [chunk_size(n) for n in (5, 200, 10**6)] == [64, 200, 512]
