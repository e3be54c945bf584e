"""Attention, probabilities and full context embeddings, against hand-worked values and NumPy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from metarun.algorithms.matchingnet import FullContext, MatchingNet, log_probabilities
from metarun.backbones.conv4 import Conv4
from metarun.backbones.mlp import MLP
from metarun.tasks.task import Task
from tests.algorithms.learners import predict, spec, support_in_order, task_of
from tests.algorithms.test_protonet import Identity
from tests.conftest import scores_of, tasks


def by_hand() -> Task:
    """Support at 0° (label 0), 60° and 90° (label 1) with different lengths; a query at 0°.

    The cosines are 1, ½ and 0: with temperature ½ the attention is proportional to e², e and 1.
    """
    support = torch.tensor([[5.0, 0.0], [1.0, math.sqrt(3)], [0.0, 0.1]])
    return task_of(support, [0, 1, 1], torch.tensor([[3.0, 0.0]]), [1])


def test_probabilities_and_loss_by_hand() -> None:
    learner = MatchingNet(Identity(), spec(2), temperature=0.5)
    total = math.e**2 + math.e + 1
    expected = torch.tensor([[[math.e**2 / total, (math.e + 1) / total]]])
    torch.testing.assert_close(predict(learner, [by_hand()]).exp(), expected)
    scores = scores_of(learner.train(), [by_hand()])
    assert scores["loss"].item() == pytest.approx(-math.log((math.e + 1) / total), rel=1e-5)


def test_outputs_are_log_probabilities() -> None:
    """Log-softmax does not change them, so cross-entropy is the negative log-likelihood."""
    actual = predict(MatchingNet(Conv4((1, 28, 28), filters=4), spec()), tasks())
    torch.testing.assert_close(actual.exp().sum(-1), torch.ones(2, 12))
    torch.testing.assert_close(actual.log_softmax(-1), actual)


def test_log_of_a_tiny_probability_is_exact_and_has_a_gradient() -> None:
    query = torch.tensor([[1.0, 0.0]], requires_grad=True)
    support = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    actual = log_probabilities(query, support, torch.tensor([0, 1]), 2, temperature=0.005)
    torch.testing.assert_close(actual, torch.tensor([[0.0, -200.0]]))
    actual[0, 1].backward()
    assert query.grad[0, 1].item() == pytest.approx(200, rel=1e-4)


def test_without_a_temperature_probabilities_stay_low() -> None:
    """Cosines are within ±1, so the 20-way loss is at least log(1 + 19/e²)."""
    support, labels = torch.eye(20), torch.arange(20)
    warm, cold = (log_probabilities(support, support, labels, 20, t)[0, 0] for t in (1.0, 0.1))
    assert warm.exp() < 0.15
    assert cold.exp() > 0.99
    assert MatchingNet(Identity(), spec(2)).temperature == 0.1


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def lstm(
    w: np.ndarray, u: np.ndarray, b: np.ndarray, x: np.ndarray, h: np.ndarray, c: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """One step of an LSTM with gates in the order input, forget, cell, output."""
    i, f, g, o = np.split(w @ x + u @ h + b, 4)
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


@pytest.mark.parametrize("steps", [1, 3])
def test_full_context_embeddings_follow_the_equations_of_the_paper(steps: int) -> None:
    torch.manual_seed(0)
    d, shots, queries = 3, 4, 2
    context = FullContext(d, steps).double()
    s, q = torch.randn(shots, d).double(), torch.randn(queries, d).double()
    actual_g, actual_f = (z.detach().numpy() for z in context(s, q))

    p = {name: value.detach().numpy() for name, value in context.named_parameters()}
    items = s.numpy()
    g = items.copy()  # g(xᵢ, S) = h⃗ᵢ + h⃖ᵢ + g′(xᵢ)
    for suffix, order in (("", range(shots)), ("_reverse", reversed(range(shots)))):
        w, u = p[f"g.weight_ih_l0{suffix}"], p[f"g.weight_hh_l0{suffix}"]
        b = p[f"g.bias_ih_l0{suffix}"] + p[f"g.bias_hh_l0{suffix}"]
        h, c = np.zeros(d), np.zeros(d)
        for i in order:
            h, c = lstm(w, u, b, items[i], h, c)
            g[i] += h
    np.testing.assert_allclose(actual_g, g, rtol=1e-9)

    # The hidden state of equation 3 is [h, r], so the columns of the read-out belong to u.
    w, u_read = np.split(p["f.weight_ih"], 2, axis=1)
    u, b = np.hstack([p["f.weight_hh"], u_read]), p["f.bias_ih"] + p["f.bias_hh"]
    for row, x in zip(actual_f, q.numpy(), strict=True):
        h, c = x, np.zeros(d)
        for _ in range(steps):
            a = np.exp(g @ h)
            read = (a / a.sum()) @ g
            h, c = lstm(w, u, b, x, np.concatenate([h, read]), c)
            h = h + x
        np.testing.assert_allclose(row, h, rtol=1e-9)


def with_context(batch_norm: str = "inductive") -> MatchingNet:
    torch.manual_seed(0)
    net = MLP((6,), hidden=[5])
    return MatchingNet(net, spec(), fce=True, batch_norm=batch_norm).double()


def vectors(seed: int = 0) -> list[Task]:
    return tasks(shape=(6,), seed=seed, dtype=torch.float64)


def test_full_context_depends_on_support_order_but_not_on_other_queries() -> None:
    learner, batch = with_context(), vectors()
    scores_of(learner, batch)
    actual = predict(learner, batch)
    alone = predict(learner, [replace(task, query=task.query[3:4]) for task in batch])
    torch.testing.assert_close(alone, actual[:, 3:4])
    backwards = [support_in_order(task, [5, 4, 3, 2, 1, 0]) for task in batch]
    assert not torch.allclose(predict(learner, backwards), actual, atol=1e-3)


def test_full_context_learns_and_evaluation_does_not_change_it() -> None:
    learner, batch = with_context(), vectors()
    optimizer = torch.optim.Adam(learner.parameters(), 1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        losses.append(scores_of(learner, batch)["loss"].mean().item())
        assert all(p.grad.any() for p in learner.context.parameters())
        optimizer.step()
    assert losses[-1] < 0.7 * losses[0]
    before = {k: v.clone() for k, v in learner.state_dict().items()}
    predict(learner, batch)
    assert all(torch.equal(v, before[k]) for k, v in learner.state_dict().items())


def test_ways_and_shots_may_change_and_there_are_no_extra_parameters() -> None:
    learner = MatchingNet(Conv4((1, 28, 28), filters=4), spec())
    assert predict(learner, tasks(ways=7, shots=3)).shape == (2, 28, 7)
    assert all(name.startswith("backbone.") for name in learner.state_dict())
