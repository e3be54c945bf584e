"""Reptile: its update, the state of the inner Adam, mini-batches and evaluation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from metarun.algorithms import reptile
from metarun.algorithms.reptile import Reptile, mini_batches
from metarun.backbones.conv4 import Conv4
from metarun.backbones.norm import normalised_by
from metarun.config.compose import compose, plain
from metarun.tasks.task import Task
from metarun.testing import tasks
from metarun.training.gradient import adapt
from metarun.training.optimizer import sgd
from tests.algorithms.gradients import gradient, small, smooth
from tests.algorithms.learners import predict, ragged, spec
from tests.conftest import scores_of

learner = partial(smooth, Reptile)
regression = partial(smooth, Reptile, hidden=(), inner_lr=0.1, inner_beta2=0.9)


class Adam:
    """Adam with β₁ = 0 on softmax regression, in NumPy."""

    def __init__(self, size: int) -> None:
        self.v, self.t = np.zeros(size), 0

    def train(self, theta: np.ndarray, x: np.ndarray, y: np.ndarray, steps: int) -> np.ndarray:
        for _ in range(steps):
            w, b = theta[:18].reshape(3, 6), theta[18:]
            scores = np.exp(x @ w.T + b)
            error = (scores / scores.sum(1, keepdims=True) - np.eye(3)[y]) / len(x)
            g = np.concatenate([(error.T @ x).ravel(), error.sum(0)])
            self.t += 1
            self.v = 0.9 * self.v + 0.1 * g**2
            theta = theta - 0.1 * g / (np.sqrt(self.v / (1 - 0.9**self.t)) + 1e-8)
        return theta


def supports(batch: list[Task]) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(task.support.x.numpy(), task.support.y.numpy()) for task in batch]


def flat(model: Reptile) -> np.ndarray:
    return torch.cat([p.detach().flatten() for p in model.parameters()]).numpy().copy()


def test_the_update_over_two_tasks_agrees_with_numpy() -> None:
    """Each task starts from θ, but the moments and step count of Adam carry over.

    A mini-batch of 6 is the whole support, so the result is deterministic.
    """
    model, batch = regression(inner_batch=6, inner_steps=3), small(2)
    theta, adam = flat(model), Adam(21)
    for _ in range(2):  # the second pass continues with the state of the first
        phi = [adam.train(theta, x, y, 3) for x, y in supports(batch)]
        np.testing.assert_allclose(gradient(model, batch), theta - np.mean(phi, 0), rtol=1e-9)
    np.testing.assert_allclose(model.second_moments, adam.v, rtol=1e-9)
    assert model.steps_taken == 12
    assert np.array_equal(flat(model), theta)

    fresh = Adam(21).train(theta, *supports(batch)[1], 3)  # with a new Adam for each task
    assert np.linalg.norm(phi[1] - fresh) > 0.01 * np.linalg.norm(fresh - theta)


def test_the_inner_loop_equals_torchs_adam_without_first_moment() -> None:
    model, (task,) = learner(inner_batch=6, inner_steps=4, inner_lr=0.01), small(1)
    actual, net = gradient(model, [task]), smooth(Reptile).net
    start = torch.cat([p.detach().flatten() for p in net.parameters()])
    adam = torch.optim.Adam(net.parameters(), 0.01, betas=(0.0, 0.999))
    with normalised_by(net, "batch"):
        for _ in range(4):
            adam.zero_grad()
            F.cross_entropy(net(task.support.x), task.support.y).backward()
            adam.step()
    end = torch.cat([p.detach().flatten() for p in net.parameters()])
    torch.testing.assert_close(actual, start - end, rtol=1e-5, atol=1e-9)


def test_for_one_step_the_update_is_proportional_to_the_gradient() -> None:
    """If the second moments are so large that Adam scales all gradients equally."""
    model, (task,) = learner(inner_batch=6, inner_steps=1), small(1)
    model.second_moments.fill_(1e4)
    model.steps_taken.fill_(10**9)
    slopes = []
    for p in model.net.parameters():
        for i in range(p.numel()):
            ends = []
            for sign in (1, -1):
                p.data.view(-1)[i] += sign * 1e-5
                with torch.no_grad(), normalised_by(model.net, "batch"):
                    ends.append(F.cross_entropy(model.net(task.support.x), task.support.y))
                p.data.view(-1)[i] -= sign * 1e-5
            slopes.append((ends[0] - ends[1]) / 2e-5)
    expected = torch.stack(slopes) * 1e-3 / (0.999e4**0.5 + 1e-8)
    torch.testing.assert_close(gradient(model, [task]), expected, rtol=1e-5, atol=1e-12)


def test_the_outer_step_is_as_published_and_anneals_to_zero() -> None:
    """θ ← θ + ε·mean(φ − θ) with ε = 1, 3/4, 1/2, 1/4 in a run of four steps."""
    node = plain(compose(["algo=reptile"]))["optimizer"]
    options = {k: v for k, v in node.items() if k != "_target_"}
    model, batch = regression(inner_batch=6, inner_steps=3), small(2)
    outer, adam = sgd(model.parameters(), 4, **options), Adam(21)
    for step, epsilon in enumerate([1.0, 0.75, 0.5, 0.25]):
        theta = flat(model)
        phi = np.mean([adam.train(theta, x, y, 3) for x, y in supports(batch)], 0)
        scores_of(model, batch)
        outer.step(step)
        np.testing.assert_allclose(flat(model), theta + epsilon * (phi - theta), rtol=1e-9)


def test_evaluation_starts_each_task_from_a_copy_of_the_training_state() -> None:
    model = regression(inner_batch=6, inner_steps=3, test_inner_batch=6, test_inner_steps=5)
    batch, new = small(2), small(2, seed=1)
    scores_of(model, batch)
    adam, theta = Adam(21), flat(model)
    for x, y in supports(batch):
        adam.train(theta, x, y, 3)
    state = {k: v.clone() for k, v in model.state_dict().items()}
    actual = predict(model, new)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    for t in range(2):
        copied = Adam(21)
        copied.v, copied.t = adam.v, adam.t
        phi = copied.train(theta, *supports(new)[t], 5)
        logits = new[t].query.x.numpy() @ phi[:18].reshape(3, 6).T + phi[18:]
        np.testing.assert_allclose(actual[t], logits, rtol=1e-9)


def test_training_resumes_from_a_checkpoint_bitwise() -> None:
    """The checkpoint includes the state of the inner Adam."""

    def step(model: Reptile, number: int) -> None:
        model.zero_grad()
        scores_of(model.train(), small(seed=number), seed=number)
        torch.optim.SGD(model.parameters(), 1.0).step()

    whole, first, second = (learner(seed=s, inner_batch=4) for s in (0, 0, 7))
    for number in range(4):
        step(whole, number)
    step(first, 0)
    step(first, 1)
    second.load_state_dict(first.state_dict())
    predict(second, small(seed=9))  # validation does not change the learner
    step(second, 2)
    step(second, 3)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


@pytest.mark.parametrize(("items", "size", "count"), [(50, 10, 5), (6, 4, 5), (5, 10, 3)])
def test_mini_batches_are_consecutive_shuffled_passes(items: int, size: int, count: int) -> None:
    rows = mini_batches(items, size, count)
    assert rows.shape == (count, size)
    flat = rows.flatten()
    for start in range(0, size * count - items + 1, items):
        assert sorted(flat[start : start + items].tolist()) == list(range(items))
    assert not torch.equal(rows, mini_batches(items, size, count))


def test_each_inductive_query_is_in_one_batch_with_the_support_only() -> None:
    """The vectorised forward pass equals the loop over queries in the authors' code."""
    model = learner(batch_norm="inductive", test_inner_batch=6, test_inner_steps=4)
    (task,) = small(1)
    (actual,) = predict(model, [task])
    net = smooth(Reptile).net
    adam = torch.optim.Adam(net.parameters(), 1e-3, betas=(0.0, 0.999))
    with normalised_by(net, "batch"):
        for _ in range(4):
            adam.zero_grad()
            F.cross_entropy(net(task.support.x), task.support.y).backward()
            adam.step()
        with torch.no_grad():
            rows = [net(torch.cat([task.support.x, q.unsqueeze(0)]))[-1] for q in task.query.x]
            together = net(torch.cat([task.support.x, task.query.x]))[6:]
    torch.testing.assert_close(actual, torch.stack(rows), rtol=1e-6, atol=1e-6)
    assert not torch.allclose(actual, together, atol=1e-3)


def test_batch_norm_setting_has_no_effect_on_training() -> None:
    """The same training run can be evaluated with both settings."""
    states = []
    for batch_norm in ("transductive", "inductive"):
        model = learner(batch_norm=batch_norm)
        scores = scores_of(model, small())
        states.append([*scores.values(), *model.state_dict().values()])
    assert all(torch.equal(a, b) for a, b in zip(*states, strict=True))


def test_evaluation_uses_its_own_mini_batches() -> None:
    a, b, c = (
        predict(learner(inner_lr=0.01, test_inner_batch=size, test_inner_steps=steps), small())
        for size, steps in ((6, 5), (2, 5), (6, 10))
    )
    assert not torch.allclose(a, b, atol=1e-3)
    assert not torch.allclose(a, c, atol=1e-3)


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
def test_vmap_predicts_as_the_loop_and_trains_the_same_weights_to_the_bit(batch_norm: str) -> None:
    """Several tasks are evaluated together, from a training state; training is in sequence."""
    batch = tasks(3, ways=3, shots=2, queries=4, shape=(1, 9, 9))
    outputs, states = [], []
    for engine in ("loop", "vmap"):
        torch.manual_seed(0)
        net = Conv4((1, 9, 9), filters=4, downsample="stride")
        options = dict(batch_norm=batch_norm, test_inner_batch=4, test_inner_steps=20)
        model = Reptile(net, spec(), **options).double()
        model.engine = engine
        scores_of(model.train(), batch)
        states.append(model.state_dict())
        outputs.append(predict(model, batch))
        assert all(torch.equal(v, states[-1][k]) for k, v in model.state_dict().items())
    assert all(torch.equal(states[1][k], v) for k, v in states[0].items())
    largest = outputs[0].abs().max()
    torch.testing.assert_close(outputs[1], outputs[0], rtol=0, atol=1e-8 * largest.item())


def test_vmap_takes_tasks_of_different_sizes_one_by_one() -> None:
    together = learner()
    together.engine = "vmap"
    for one, other in zip(predict_each(together), predict_each(learner()), strict=True):
        assert torch.equal(one, other)


def predict_each(model: Reptile) -> list[torch.Tensor]:
    batch = ragged()
    models = adapt(model.eval(), batch)
    return [model(task.query.x).detach() for model, task in zip(models, batch, strict=True)]


def test_mini_batches_depend_on_seed_and_task_number_but_not_on_previous_tasks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model, (previous, task), recorded = learner(inner_batch=4), small(2), []

    def record(*args: int) -> torch.Tensor:
        recorded.append(mini_batches(*args))
        return recorded[-1]

    monkeypatch.setattr(reptile, "mini_batches", record)
    for batch, seed in (
        ([previous, task], 0),
        ([task], 0),
        ([replace(task, number=7)], 0),
        ([task], 1),
    ):
        gradient(model, batch, seed)
    first, second, alone, other_number, other_seed = recorded
    assert torch.equal(second, alone)
    assert not any(torch.equal(alone, other) for other in (first, other_number, other_seed))


def test_the_outer_loss_is_half_the_squared_distance_to_the_trained_weights() -> None:
    model, (task,) = regression(inner_batch=6, inner_steps=3), small(1)
    theta = flat(model)
    phi = Adam(21).train(theta, *supports([task])[0], 3)
    expected = np.square(theta - phi).sum() / 2
    np.testing.assert_allclose(model.outer_loss(task).loss.item(), expected, rtol=1e-9)
