"""How support and queries are embedded, and what follows for every learner that compares them."""

from __future__ import annotations

import pytest
import torch

from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.conv4 import Conv4
from metarun.training.gradient import adapt
from tests.algorithms.learners import STATISTICS, build, predict, relabelled, spec
from tests.conftest import scores_of, tasks

METRIC = ("matchingnet", "protonet", "relationnet", "siamese")


def trained(batch_norm: str = "inductive") -> ProtoNet:
    torch.manual_seed(0)
    learner = ProtoNet(Conv4((1, 28, 28), filters=4), spec(), batch_norm=batch_norm).double()
    scores_of(learner, tasks(dtype=torch.float64))
    return learner


def test_in_training_support_and_queries_of_a_task_are_one_batch() -> None:
    learner, given = trained(), tasks(seed=1, dtype=torch.float64)
    net = learner.backbone
    norm = net.blocks[1]
    before = norm.num_batches_tracked.item()
    embedded = [learner.embed_together(task) for task in given]
    assert norm.num_batches_tracked == before + 2  # a batch for each task
    for task, (support, query) in zip(given, embedded, strict=True):
        together = net(torch.cat([task.support.x, task.query.x]))
        torch.testing.assert_close(torch.cat([support, query]), together)
        assert len(support) == len(task.support)
        assert query.requires_grad


@pytest.mark.parametrize("batch_norm", STATISTICS)
def test_a_task_is_embedded_and_labelled_the_same_to_the_bit_in_any_company(
    batch_norm: str,
) -> None:
    learner, given = trained(batch_norm).float().eval(), tasks(3, seed=1)
    for task, model in zip(given, adapt(learner, given), strict=True):
        (alone,) = adapt(learner, [task])
        with torch.no_grad():
            assert torch.equal(alone(task.query.x), model(task.query.x))


def test_whose_statistics_normalise() -> None:
    for batch_norm, training in (("inductive", False), ("transductive", True)):
        learner, task = trained(batch_norm).eval(), tasks(seed=1, dtype=torch.float64)[1]
        support, query = learner.embed(task.support.x), learner.embed(task.query.x)
        net = learner.backbone.train(training)
        torch.testing.assert_close(query, net(task.query.x))
        torch.testing.assert_close(support, net(task.support.x))


@pytest.mark.parametrize("batch_norm", STATISTICS)
@pytest.mark.parametrize("name", METRIC)
def test_it_does_not_matter_which_label_a_class_has(name: str, batch_norm: str) -> None:
    learner, given = build(name, batch_norm), tasks(seed=1, dtype=torch.float64)
    logits = predict(learner, given)
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    torch.testing.assert_close(predict(learner, relabelled(given, new))[..., new], logits)


@pytest.mark.parametrize("name", METRIC)
def test_training_goes_on_after_a_validation(name: str) -> None:
    """Evaluation leaves no statistics behind; the running averages follow training again."""
    learner, given = build(name, "inductive"), tasks(seed=1, dtype=torch.float64)
    predict(learner, given)
    before = {k: v.clone() for k, v in learner.named_buffers()}
    scores_of(learner.train(), given)
    averages = [k for k in before if "running" in k]
    assert averages
    assert not any(torch.equal(learner.get_buffer(k), before[k]) for k in averages)


@pytest.mark.parametrize("name", METRIC)
def test_the_scores_of_training_are_those_of_validation(name: str) -> None:
    """So that curves compare: cross-entropy and accuracy of N-way prediction, whatever is trained.

    With a batch of one task and its statistics as running averages both see the same network.
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
