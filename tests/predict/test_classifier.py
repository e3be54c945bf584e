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
from metarun.predict.classifier import Classifier, Scores, check_independent, chunk_size
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Spec

LABELS = np.array([0, 0, 0, 1, 2, 2])


def classifier(kind: type[Learner] = ProtoNet, **keys: object) -> Classifier:
    torch.manual_seed(0)
    net = Conv4((1, 16, 16), filters=4)
    learner = kind(net, Spec((1, 16, 16), 3, CLASSIFICATION, 1, 5), **keys)
    return Classifier(learner.eval(), torch.device("cpu"), torch.float32, "own", learner.batch_norm)


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


def test_one_item_of_each_class_is_left_out_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    of, support, labels = classifier(), items(9), np.array([0, 0, 1, 1, 1, 2, 2, 2, 2])
    done: list[int] = []
    supports: list[np.ndarray] = []
    queries: list[np.ndarray] = []
    adapt = Classifier.adapt

    def recorded(self: Classifier, x: np.ndarray, y: np.ndarray) -> Scores:
        supports.append(np.array([(support == item).all((1, 2, 3)).argmax() for item in x]))
        scores = adapt(self, x, y)

        def scored(x: np.ndarray) -> np.ndarray:
            queries.append(np.array([(support == item).all((1, 2, 3)).argmax() for item in x]))
            return scores(x)

        return scored

    monkeypatch.setattr(Classifier, "adapt", recorded)
    scores, of_items = of.left_out(support, labels, done.append)
    assert done == [1, 2, 3, 4]
    places = np.concatenate(queries)
    assert sorted(places) == list(range(9))
    assert labels[places].tolist() == of_items.tolist()
    for kept, out in zip(supports, queries, strict=True):
        assert not set(kept) & set(out)
        assert np.bincount(labels[kept]).tolist() == [1, 2, 3]
    expected = [
        by_hand(of.learner.backbone, support[kept], labels[kept], support[out])
        for kept, out in zip(supports, queries, strict=True)
    ]
    np.testing.assert_allclose(scores, np.concatenate(expected), rtol=1e-4)


def test_about_a_hundred_items_of_a_large_support_are_left_out(monkeypatch) -> None:
    labels = np.arange(3).repeat(50)
    adapt = lambda self, x, y: lambda items: np.zeros((len(items), 3))  # noqa: E731
    monkeypatch.setattr(Classifier, "adapt", adapt)
    scores, of_items = classifier().left_out(np.zeros((150, 1)), labels, lambda done: None)
    assert len(scores) == len(of_items) == 99
    assert np.bincount(of_items).tolist() == [33, 33, 33]


def test_scores_that_are_not_finite_fail_the_command() -> None:
    of = classifier()
    torch.nn.init.constant_(next(of.learner.parameters()), torch.nan)
    with pytest.raises(RunFailed, match="not finite"):
        of.adapt(items(6), LABELS)(items(2))


def test_a_chunk_grows_with_the_support_up_to_a_limit() -> None:
    assert [chunk_size(n) for n in (5, 200, 10**6)] == [64, 200, 512]
