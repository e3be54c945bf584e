"""How support and queries are embedded, and what follows for every learner that compares them."""

from __future__ import annotations

import pytest
import torch

from metarun.algorithms.embedding import for_evaluation, for_training
from metarun.backbones.conv4 import Conv4
from tests.algorithms.learners import STATISTICS, build
from tests.conftest import episodes

METRIC = ("matchingnet", "protonet", "relationnet", "siamese")


def trained() -> Conv4:
    torch.manual_seed(0)
    net = Conv4((1, 28, 28), filters=4).double()
    for _ in for_training(net, episodes(dtype=torch.float64)):
        pass
    return net


def test_in_training_support_and_queries_of_a_task_are_one_batch() -> None:
    net, e = trained(), episodes(seed=1, dtype=torch.float64)
    norm = net.blocks[1]
    before = norm.num_batches_tracked.item()
    embedded = list(for_training(net, e))
    assert norm.num_batches_tracked == before + 2  # a batch for each task
    for t, task in enumerate(embedded):
        together = net(torch.cat([e.support_x[t], e.query_x[t]]))
        torch.testing.assert_close(torch.cat([task.support[0], task.query[0]]), together)
        assert torch.equal(task.support_y[0], e.support_y[t])
        assert torch.equal(task.query_y[0], e.query_y[t])
        assert task.query.requires_grad


@pytest.mark.parametrize("batch_norm", STATISTICS)
def test_a_tasks_embedding_is_the_same_to_the_bit_in_any_company(batch_norm: str) -> None:
    net, e = trained(), episodes(tasks=3, seed=1)
    net.float()
    support, query = for_evaluation(net, e.support_x, e.query_x, batch_norm)
    for t in range(3):
        one = slice(t, t + 1)
        s, q = for_evaluation(net, e.support_x[one], e.query_x[one], batch_norm)
        assert torch.equal(s, support[one])
        assert torch.equal(q, query[one])


def test_whose_statistics_normalise() -> None:
    net, e = trained(), episodes(seed=1, dtype=torch.float64)
    support, query = for_evaluation(net, e.support_x, e.query_x, "inductive")
    net.eval()
    torch.testing.assert_close(query[1], net(e.query_x[1]))
    torch.testing.assert_close(support[1], net(e.support_x[1]))
    support, query = for_evaluation(net, e.support_x, e.query_x, "transductive")
    net.train()
    torch.testing.assert_close(query[1], net(e.query_x[1]))
    torch.testing.assert_close(support[1], net(e.support_x[1]))


@pytest.mark.parametrize("batch_norm", STATISTICS)
@pytest.mark.parametrize("name", METRIC)
def test_it_does_not_matter_which_label_a_class_has(name: str, batch_norm: str) -> None:
    learner, e = build(name, batch_norm), episodes(seed=1, dtype=torch.float64)
    logits = learner.predict(e.support_x, e.support_y, e.query_x)
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    relabelled = learner.predict(e.support_x, new[e.support_y], e.query_x)
    torch.testing.assert_close(relabelled[..., new], logits)


@pytest.mark.parametrize("name", METRIC)
def test_training_goes_on_after_a_validation(name: str) -> None:
    """Evaluation leaves modules in its own mode; the running averages follow training again."""
    learner, e = build(name, "inductive"), episodes(seed=1, dtype=torch.float64)
    learner.predict(e.support_x, e.support_y, e.query_x)
    before = {k: v.clone() for k, v in learner.named_buffers()}
    learner.accumulate(e)
    averages = [k for k in before if "running" in k]
    assert averages
    assert not any(torch.equal(learner.get_buffer(k), before[k]) for k in averages)


@pytest.mark.parametrize("name", METRIC)
def test_the_scores_of_training_are_those_of_validation(name: str) -> None:
    """So that curves compare: cross-entropy and accuracy of N-way prediction, whatever is trained.

    With a batch of one task and its statistics as running averages both see the same network.
    """
    learner, e = build(name, "inductive"), episodes(tasks=1, seed=1, dtype=torch.float64)
    for layer in learner.modules():
        if hasattr(layer, "momentum"):
            layer.momentum = 1.0
    scores = learner.accumulate(e)
    logits = learner.predict(e.support_x, e.support_y, e.query_x)
    loss = torch.nn.functional.cross_entropy(logits[0], e.query_y[0])
    assert scores["loss"].shape == scores["accuracy"].shape == (1,)
    assert scores["loss"].item() == pytest.approx(loss.item(), rel=0.1)  # torch's unbiased variance
