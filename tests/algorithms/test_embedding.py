"""Embedding of support and queries, and properties of all metric learners."""

from __future__ import annotations

import pytest
import torch

from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.conv4 import Conv4
from metarun.training.gradient import adapt
from tests.algorithms.learners import build, predict, relabelled, spec
from tests.conftest import scores_of, tasks

METRIC = ("matchingnet", "protonet", "relationnet", "siamese")


def trained(batch_norm: str = "inductive") -> ProtoNet:
    torch.manual_seed(0)
    learner = ProtoNet(Conv4((1, 28, 28), filters=4), spec(), batch_norm=batch_norm).double()
    scores_of(learner, tasks(dtype=torch.float64))
    return learner


def test_support_and_queries_are_one_batch_in_training() -> None:
    learner, batch = trained(), tasks(seed=1, dtype=torch.float64)
    net = learner.backbone
    norm = net.blocks[1]
    before = norm.num_batches_tracked.item()
    embedded = [learner.embed_together(task) for task in batch]
    assert norm.num_batches_tracked == before + 2  # one batch per task
    for task, (support, query) in zip(batch, embedded, strict=True):
        together = net(torch.cat([task.support.x, task.query.x]))
        torch.testing.assert_close(torch.cat([support, query]), together)
        assert len(support) == len(task.support)
        assert query.requires_grad


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
def test_outputs_are_bitwise_independent_of_other_tasks(batch_norm: str) -> None:
    learner, batch = trained(batch_norm).float().eval(), tasks(3, seed=1)
    for task, model in zip(batch, adapt(learner, batch), strict=True):
        (alone,) = adapt(learner, [task])
        with torch.no_grad():
            assert torch.equal(alone(task.query.x), model(task.query.x))


def test_statistics_of_embeddings_in_evaluation() -> None:
    for batch_norm, training in (("inductive", False), ("transductive", True)):
        learner, task = trained(batch_norm).eval(), tasks(seed=1, dtype=torch.float64)[1]
        support, query = learner.embed(task.support.x), learner.embed(task.query.x)
        net = learner.backbone.train(training)
        torch.testing.assert_close(query, net(task.query.x))
        torch.testing.assert_close(support, net(task.support.x))


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
@pytest.mark.parametrize("name", METRIC)
def test_predictions_do_not_depend_on_the_labels_of_classes(name: str, batch_norm: str) -> None:
    learner, batch = build(name, batch_norm), tasks(seed=1, dtype=torch.float64)
    logits = predict(learner, batch)
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    torch.testing.assert_close(predict(learner, relabelled(batch, new))[..., new], logits)


@pytest.mark.parametrize("name", METRIC)
def test_running_averages_are_updated_again_after_validation(name: str) -> None:
    learner, batch = build(name, "inductive"), tasks(seed=1, dtype=torch.float64)
    predict(learner, batch)
    before = {k: v.clone() for k, v in learner.named_buffers()}
    scores_of(learner.train(), batch)
    averages = [k for k in before if "running" in k]
    assert averages
    assert not any(torch.equal(learner.get_buffer(k), before[k]) for k in averages)


@pytest.mark.parametrize("name", METRIC)
def test_training_reports_the_same_scores_as_validation(name: str) -> None:
    """Both report cross-entropy and accuracy of N-way prediction, for comparable curves.

    With a momentum of 1 and a single task, both use the same batch-norm statistics.
    """
    learner, (task,) = build(name, "inductive"), tasks(1, seed=1, dtype=torch.float64)
    for layer in learner.modules():
        if hasattr(layer, "momentum"):
            layer.momentum = 1.0
    scores = scores_of(learner.train(), [task])
    logits = predict(learner, [task])
    loss = torch.nn.functional.cross_entropy(logits[0], task.query.y)
    assert scores["loss"].shape == scores["accuracy"].shape == (1,)
    assert scores["loss"].item() == pytest.approx(loss.item(), rel=0.1)  # torch's unbiased variance
