"""Pairs, their loss and the choice of a class, by hand and by counting."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import Task
from metarun.algorithms.siamese import Siamese, draw_pairs
from metarun.tasks.sampler import Episodes
from tests.algorithms.test_protonet import Identity
from tests.conftest import episodes


def by_hand(**options: object) -> tuple[Siamese, Episodes]:
    """Similarity 1 − |a₁ − b₁| − 2·|a₂ − b₂|; support (0,0) (0,2) | (1,1) (3,1), query (1, 0)."""
    learner = Siamese(Identity(), Task(2), **options)
    with torch.no_grad():
        learner.alpha.weight.copy_(torch.tensor([[-1.0, -2.0]]))
        learner.alpha.bias.fill_(1.0)
    e = Episodes(
        support_x=torch.tensor([[[0.0, 0.0], [0.0, 2.0], [1.0, 1.0], [3.0, 1.0]]]),
        support_y=torch.tensor([[0, 0, 1, 1]]),
        query_x=torch.tensor([[[1.0, 0.0], [3.0, 0.0]]]),
        query_y=torch.tensor([[0, 1]]),
    )
    return learner, e


@pytest.mark.parametrize(
    ("class_score", "logits"),
    [("max", [[0.0, -1.0], [-2.0, -1.0]]), ("mean", [[-2.0, -2.0], [-4.0, -2.0]])],
)
def test_similarity_to_a_class_by_hand(class_score: str, logits: list[list[float]]) -> None:
    """To (0,0) 0, to (0,2) −4; to (1,1) −1, to (3,1) −3; for the second query −2 −6 | −3 −1."""
    learner, e = by_hand(class_score=class_score)
    found = learner.predict(e.support_x, e.support_y, e.query_x)
    torch.testing.assert_close(found[0], torch.tensor(logits))
    order = torch.tensor([2, 0, 3, 1])
    mixed = learner.predict(e.support_x[:, order], e.support_y[:, order], e.query_x)
    torch.testing.assert_close(mixed, found)


def test_the_loss_and_its_gradient_by_hand() -> None:
    """Two classes of two items, each at one place: every pair drawn is of one kind or the other.

    Same: similarity 1, −log σ(1). Different: 1 − 2 = −1, −log(1 − σ(−1)), which is the same; their
    mean is log(1 + 1/e). In the bias the slopes σ(1) − 1 and σ(−1) cancel; in α₁ only the
    different pairs count, |a₁ − b₁| = 2: ½·σ(−1)·2 = σ(−1). In both the scores are those of
    prediction, logits 1 and −1.
    """
    learner, _ = by_hand(pairs=7)
    e = Episodes(
        support_x=torch.tensor([[[1.0, 1.0], [3.0, 1.0]]]),
        support_y=torch.tensor([[0, 1]]),
        query_x=torch.tensor([[[1.0, 1.0], [3.0, 1.0]]]),
        query_y=torch.tensor([[0, 1]]),
    )
    scores = learner.accumulate(e)
    assert scores["pair_loss"].tolist() == pytest.approx([math.log(1 + math.exp(-1))])
    assert scores["loss"].tolist() == pytest.approx([math.log(1 + math.exp(-2))])
    assert scores["accuracy"].tolist() == [1.0]
    slope = 1 / (1 + math.e)
    assert learner.alpha.weight.grad.tolist() == [pytest.approx([slope, 0.0])]
    assert learner.alpha.bias.grad.item() == pytest.approx(0.0, abs=1e-6)


def test_the_loss_is_that_of_the_pairs_drawn() -> None:
    """Not an episodic softmax; and each item embedded once is as good as each pair embedded."""
    e = episodes(tasks=2, shape=(6,), dtype=torch.float64)
    learner = Siamese(Identity(6), Task(3), pairs=20).double()
    torch.manual_seed(5)
    found = learner.accumulate(e)["pair_loss"]
    torch.manual_seed(5)
    for t in range(2):
        x = torch.cat([e.support_x[t], e.query_x[t]])
        first, second, same = draw_pairs(torch.cat([e.support_y[t], e.query_y[t]]), 20)
        p = torch.sigmoid(
            (x[first] - x[second]).abs() @ learner.alpha.weight[0] + learner.alpha.bias
        )
        torch.testing.assert_close(found[t], F.binary_cross_entropy(p, same.double()))


def test_pairs_are_balanced_rightly_labelled_and_of_two_items() -> None:
    y = torch.tensor([2, 0, 1, 1, 0, 2, 0, 1, 2, 0, 1, 2])
    first, second, same = draw_pairs(y, 500)
    assert same.tolist() == [1] * 500 + [0] * 500
    assert torch.equal(y[first] == y[second], same.bool())
    assert (first != second).all()


def test_every_pair_is_drawn_as_often_as_any_other_of_its_kind() -> None:
    y = torch.tensor([0, 1, 0, 1, 0, 1, 2, 2, 2])
    torch.manual_seed(0)
    first, second, _ = draw_pairs(y, 54_000)
    counts = torch.zeros(9, 9).index_put_((first, second), torch.ones(()), accumulate=True)
    alike = y.unsqueeze(0) == y.unsqueeze(1)
    assert not counts.diagonal().any()
    same = counts[alike & ~torch.eye(9, dtype=torch.bool)]  # 18 ordered pairs
    assert len(same) == 18
    torch.testing.assert_close(same, torch.full_like(same, 3000), rtol=0.1, atol=0)
    other = counts[~alike]  # 54 ordered pairs
    torch.testing.assert_close(other, torch.full_like(other, 1000), rtol=0.15, atol=0)


def test_pairs_are_a_function_of_torchs_seed() -> None:
    y = torch.arange(5).repeat_interleave(4)
    drawn = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        drawn.append(torch.stack(draw_pairs(y, 50)))
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_one_item_a_class_in_support_and_query_is_enough() -> None:
    e = episodes(shots=1, queries=1, shape=(6,))
    assert Siamese(Identity(6), Task(3)).accumulate(e)["pair_loss"].isfinite().all()
