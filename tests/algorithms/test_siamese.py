"""Pairs, their loss and class scores, against hand-worked values and frequencies."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms.siamese import Siamese, draw_pairs
from metarun.tasks.task import Task
from metarun.training.gradient import seed_draws
from tests.algorithms.gradients import gradient
from tests.algorithms.learners import predict, spec, support_in_order, task_of
from tests.algorithms.test_protonet import Identity
from tests.conftest import scores_of, tasks


def by_hand(**options: object) -> tuple[Siamese, Task]:
    """Similarity 1 − |a₁ − b₁| − 2·|a₂ − b₂|; support (0,0) (0,2) | (1,1) (3,1), query (1, 0)."""
    learner = Siamese(Identity(), spec(2), **options)
    with torch.no_grad():
        learner.alpha.weight.copy_(torch.tensor([[-1.0, -2.0]]))
        learner.alpha.bias.fill_(1.0)
    support = torch.tensor([[0.0, 0.0], [0.0, 2.0], [1.0, 1.0], [3.0, 1.0]])
    query = torch.tensor([[1.0, 0.0], [3.0, 0.0]])
    return learner, task_of(support, [0, 0, 1, 1], query, [0, 1])


@pytest.mark.parametrize(
    ("class_score", "logits"),
    [("max", [[0.0, -1.0], [-2.0, -1.0]]), ("mean", [[-2.0, -2.0], [-4.0, -2.0]])],
)
def test_similarity_to_a_class_by_hand(class_score: str, logits: list[list[float]]) -> None:
    """Similarities to the items are 0, −4 | −1, −3 (query 1) and −2, −6 | −3, −1 (query 2)."""
    learner, task = by_hand(class_score=class_score)
    for variant in (task, support_in_order(task, [2, 0, 3, 1])):
        torch.testing.assert_close(predict(learner, [variant])[0], torch.tensor(logits))


def test_loss_and_gradient_by_hand() -> None:
    """Two classes of two identical items, so that all pairs of a kind have the same similarity.

    Same class: similarity 1, loss −log σ(1). Different classes: similarity 1 − 2 = −1, loss
    −log(1 − σ(−1)), which is the same. The mean loss is log(1 + 1/e). The gradients σ(1) − 1 and
    σ(−1) in the bias cancel. Only different pairs contribute to the gradient in α₁:
    |a₁ − b₁| = 2, so it is ½·σ(−1)·2 = σ(−1). The logits of the query scores are 1 and −1.
    """
    learner, _ = by_hand(pairs=7)
    items = torch.tensor([[1.0, 1.0], [3.0, 1.0]])
    scores = scores_of(learner, [task_of(items, [0, 1], items, [0, 1])])
    assert scores["pair_loss"].tolist() == pytest.approx([math.log(1 + math.exp(-1))])
    assert scores["loss"].tolist() == pytest.approx([math.log(1 + math.exp(-2))])
    assert scores["accuracy"].tolist() == [1.0]
    slope = 1 / (1 + math.e)
    assert learner.alpha.weight.grad.tolist() == [pytest.approx([slope, 0.0])]
    assert learner.alpha.bias.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_the_loss_is_the_binary_cross_entropy_of_the_drawn_pairs() -> None:
    learner, batch = Siamese(Identity(6), spec(), pairs=20).double(), vectors()
    actual = scores_of(learner, batch, seed=5)["pair_loss"]
    for t, task in enumerate(batch):
        x = torch.cat([task.support.x, task.query.x])
        seed_draws(5, task.number)
        first, second, same = draw_pairs(torch.cat([task.support.y, task.query.y]), 20)
        p = torch.sigmoid(
            (x[first] - x[second]).abs() @ learner.alpha.weight[0] + learner.alpha.bias
        )
        torch.testing.assert_close(actual[t], F.binary_cross_entropy(p, same.double()))


def test_pairs_are_balanced_correctly_labelled_and_of_distinct_items() -> None:
    y = torch.tensor([2, 0, 1, 1, 0, 2, 0, 1, 2, 0, 1, 2])
    first, second, same = draw_pairs(y, 500)
    assert same.tolist() == [1] * 500 + [0] * 500
    assert torch.equal(y[first] == y[second], same.bool())
    assert (first != second).all()


def test_all_pairs_of_a_kind_are_equally_likely() -> None:
    y = torch.tensor([0, 1, 0, 1, 0, 1, 2, 2, 2])
    torch.manual_seed(0)
    first, second, _ = draw_pairs(y, 54_000)
    counts = torch.zeros(9, 9).index_put_((first, second), torch.ones(()), accumulate=True)
    same_class = y.unsqueeze(0) == y.unsqueeze(1)
    assert not counts.diagonal().any()
    same = counts[same_class & ~torch.eye(9, dtype=torch.bool)]  # 18 ordered pairs
    assert len(same) == 18
    torch.testing.assert_close(same, torch.full_like(same, 3000), rtol=0.1, atol=0)
    other = counts[~same_class]  # 54 ordered pairs
    torch.testing.assert_close(other, torch.full_like(other, 1000), rtol=0.15, atol=0)


def test_pairs_are_determined_by_the_seed_of_torch() -> None:
    y = torch.arange(5).repeat_interleave(4)
    pairs = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        pairs.append(torch.stack(draw_pairs(y, 50)))
    assert torch.equal(pairs[0], pairs[1])
    assert not torch.equal(pairs[0], pairs[2])


def test_one_support_item_and_one_query_per_class_are_enough() -> None:
    batch = tasks(shots=1, queries=1, shape=(6,))
    assert scores_of(Siamese(Identity(6), spec()), batch)["pair_loss"].isfinite().all()


def vectors() -> list[Task]:
    return tasks(shape=(6,), dtype=torch.float64)


def test_pairs_depend_on_seed_and_task_number_but_not_on_previous_tasks() -> None:
    torch.manual_seed(0)
    learner, (previous, task) = Siamese(Identity(6), spec(), pairs=5).double(), vectors()
    alone = gradient(learner, [task])
    after = 2 * gradient(learner, [previous, task]) - gradient(learner, [previous])
    torch.testing.assert_close(after, alone)
    assert not torch.allclose(gradient(learner, [replace(task, number=7)]), alone, rtol=1e-3)
    assert not torch.allclose(gradient(learner, [task], seed=1), alone, rtol=1e-3)
