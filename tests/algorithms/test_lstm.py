"""The LSTM meta-learner, against its equations and finite differences."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms.lstm import LSTM, MetaLSTM, preprocess
from metarun.backbones.mlp import MLP
from metarun.errors import Refused
from metarun.tasks.objectives import REGRESSION
from metarun.tasks.task import Task
from metarun.testing import tasks
from tests.algorithms.gradients import finite_differences, gradient
from tests.algorithms.learners import predict, spec, task_of
from tests.conftest import scores_of


class Identity(nn.Module):
    features = 2

    def forward(self, x: Tensor) -> Tensor:
        return x


def learner(hidden: tuple[int, ...] = (3,), **options: object) -> LSTM:
    """Return a smooth learner with large gate weights, so that inputs have an effect."""
    torch.manual_seed(0)
    net = MLP((3,), hidden=list(hidden))
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):  # finite differences across a kink are wrong
            layer.forward = F.softplus
    return with_random_gates(
        LSTM(net, spec(), **{"inner_steps": 2, "hidden": 2, **options}).double()
    )


def with_random_gates(model: LSTM) -> LSTM:
    """Draw gate weights so that gates are about half open and depend on all inputs."""
    torch.manual_seed(1)
    for gate in (model.meta.forget, model.meta.input):
        nn.init.normal_(gate.weight, std=0.5)
        nn.init.normal_(gate.bias)
    return model


def small(count: int = 2, seed: int = 0) -> list[Task]:
    return tasks(count, ways=3, shots=2, queries=3, shape=(3,), seed=seed)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (1.0, (0.0, 1.0)),
        (-math.exp(5), (0.5, -1.0)),
        (math.exp(-9), (-0.9, 1.0)),
        (-math.exp(-11), (-1.0, -math.exp(-1))),
        (0.0, (-1.0, 0.0)),
    ],
)
def test_preprocessing_by_hand(x: float, expected: tuple[float, float]) -> None:
    actual = preprocess(torch.tensor(x, dtype=torch.float64))
    torch.testing.assert_close(actual, torch.tensor(expected, dtype=torch.float64))


def test_preprocessing_is_continuous_at_the_threshold() -> None:
    edge = math.exp(-10)
    near = torch.tensor([edge * (1 - 1e-9), edge * (1 + 1e-9)], dtype=torch.float64)
    below, above = preprocess(near).mT
    torch.testing.assert_close(below, above)


def test_two_updates_of_three_parameters_by_hand() -> None:
    """Linear regression: gradients, LSTM and gates written in NumPy."""
    torch.manual_seed(3)
    model = with_random_gates(
        LSTM(Identity(), spec(1, objective=REGRESSION), inner_steps=2, hidden=2).double()
    )
    rng = np.random.default_rng(0)
    x, y, query = rng.normal(size=(4, 2)), rng.normal(size=(4, 1)), rng.normal(size=(5, 2))
    w = {k: v.detach().numpy() for k, v in model.meta.named_parameters()}
    theta = np.concatenate([p.detach().numpy().ravel() for p in model.net.parameters()])
    assert theta.shape == (3,)

    def prep(g: float) -> tuple[float, float]:
        if abs(g) >= math.exp(-10):
            return math.log(abs(g)) / 10, math.copysign(1, g)
        return -1.0, math.exp(10) * g

    h, c = np.zeros((3, 2)), np.zeros((3, 2))
    i, f = np.zeros(3), np.zeros(3)
    for _ in range(2):
        error = x @ theta[:2] + theta[2] - y[:, 0]
        loss = np.mean(error**2)
        gradient = np.append(2 * error @ x, 2 * error.sum()) / 4
        theta_next = np.empty(3)
        for j in range(3):
            inputs = np.array([*prep(gradient[j]), *prep(loss)])
            z = w["first.weight_ih"] @ inputs + w["first.bias_ih"]
            z += w["first.weight_hh"] @ h[j] + w["first.bias_hh"]
            in_gate, forget_gate, new, out_gate = z[:2], z[2:4], z[4:6], z[6:]
            c[j] = sigmoid(forget_gate) * c[j] + sigmoid(in_gate) * np.tanh(new)
            h[j] = sigmoid(out_gate) * np.tanh(c[j])
            i[j] = w["input.weight"][0] @ np.array([*h[j], theta[j], i[j]]) + w["input.bias"][0]
            f[j] = w["forget.weight"][0] @ np.array([*h[j], theta[j], f[j]]) + w["forget.bias"][0]
            theta_next[j] = sigmoid(f[j]) * theta[j] - sigmoid(i[j]) * gradient[j]
        theta = theta_next

    items = (torch.from_numpy(a) for a in (x, y, query))
    actual = predict(model, [task_of(*items, torch.zeros(5, 1), objective=REGRESSION)])
    np.testing.assert_allclose(actual[0, :, 0].numpy(), query @ theta[:2] + theta[2], rtol=1e-10)


def test_constant_gates_give_gradient_descent_with_decay() -> None:
    model, (task,) = learner(hidden=(), inner_steps=3), small(1)
    for gate, bias in ((model.meta.forget, 2.0), (model.meta.input, -0.5)):
        nn.init.zeros_(gate.weight)
        nn.init.constant_(gate.bias, bias)
    w, b = (p.detach().clone().requires_grad_() for p in model.net[1].parameters())
    keep, lr = torch.sigmoid(torch.tensor([2.0, -0.5], dtype=torch.float64))
    for _ in range(3):
        loss = F.cross_entropy(task.support.x @ w.T + b, task.support.y)
        dw, db = torch.autograd.grad(loss, (w, b))
        w = (keep * w - lr * dw).detach().requires_grad_()
        b = (keep * b - lr * db).detach().requires_grad_()
    torch.testing.assert_close(predict(model, [task])[0], (task.query.x @ w.T + b).detach())


@pytest.mark.parametrize("batch_norm", ["transductive", "inductive"])
def test_the_meta_gradient_equals_finite_differences_with_constant_inputs(
    batch_norm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradient independence (section 3.3): the inputs of the LSTM are recorded and replayed."""
    model, batch = learner(batch_norm=batch_norm), small()
    original, tape = model.loss_and_gradient, []

    def record(*args: Tensor) -> tuple[Tensor, Tensor]:
        tape.append(original(*args))
        return tape[-1]

    monkeypatch.setattr(model, "loss_and_gradient", record)
    actual = gradient(model, batch)
    assert len(tape) == 2 * 2  # tasks, updates
    assert not any(t.requires_grad for pair in tape for t in pair)

    calls = iter(range(10**9))
    monkeypatch.setattr(model, "loss_and_gradient", lambda *_: tape[next(calls) % len(tape)])
    torch.testing.assert_close(actual, finite_differences(model, batch), rtol=1e-5, atol=1e-8)


def test_the_meta_gradient_leaves_second_derivatives_out() -> None:
    """Finite differences include the dependence of inner gradients on the parameters."""
    model, batch = learner(), small(1)
    actual, exact = gradient(model, batch), finite_differences(model, batch)
    assert (actual - exact).norm() > 0.01 * exact.norm()


def test_initial_weights_and_optimizer_are_both_learned() -> None:
    model = learner()
    gradient(model, small())
    assert model.net[1].weight.grad.abs().sum() > 0
    assert model.net[0].layers[1].weight.grad.abs().sum() > 0
    assert all(p.grad.abs().sum() > 0 for p in model.meta.parameters())


def test_initial_gates_are_close_to_gradient_descent_with_a_small_rate() -> None:
    """Forget bias 4 to 6, input bias −5 to −4."""
    biases = []
    for seed in range(20):
        torch.manual_seed(seed)
        meta = MetaLSTM(20)
        biases.append((meta.forget.bias.item(), meta.input.bias.item()))
        assert max(meta.forget.weight.abs().max(), meta.input.weight.abs().max()) <= 0.01
    forget, input = zip(*biases, strict=True)
    assert 4 <= min(forget) < max(forget) <= 6
    assert -5 <= min(input) < max(input) <= -4


def test_the_first_layer_is_torchs_lstm_cell() -> None:
    meta = MetaLSTM(5).double()
    loss, gradient = torch.rand((), dtype=torch.float64), torch.randn(7, dtype=torch.float64)
    output, cell = torch.randn(2, 7, 5, dtype=torch.float64)
    inputs = torch.cat([preprocess(gradient).mT, preprocess(loss).expand(7, 2)], 1)
    expected = meta.first(inputs, (output, cell))
    actual = meta._first(loss, gradient, output.mT, cell.mT)
    torch.testing.assert_close(tuple(x.mT for x in actual), expected)


def test_coordinates_share_the_optimizer_but_not_its_state() -> None:
    meta = MetaLSTM(5).double()
    order, cell = torch.randperm(7), torch.randn(7, dtype=torch.float64)
    state, shuffled = meta.start(cell), meta.start(cell[order])
    for _ in range(3):
        loss, gradient = torch.rand((), dtype=torch.float64), torch.randn(7, dtype=torch.float64)
        state = meta(loss, gradient, state)
        shuffled = meta(loss, gradient[order], shuffled)
    torch.testing.assert_close(shuffled.cell, state.cell[order])


def test_the_outer_loss_is_the_mean_over_tasks() -> None:
    """A sum would make the outer step proportional to the meta-batch."""
    model, batch = learner(), small(2)
    separate = torch.stack([gradient(model, [task]) for task in batch]).mean(0)
    torch.testing.assert_close(gradient(model, batch), separate)


def test_no_batch_norm_statistics_pass_from_task_to_task() -> None:
    """No buffer is modified."""
    model = learner()
    before = {k: v.clone() for k, v in model.named_buffers()}
    scores_of(model, small())
    assert before
    assert all(torch.equal(v, before[k]) for k, v in model.named_buffers())


def test_a_frozen_network_is_refused() -> None:
    with pytest.raises(Refused, match="frozen=true: lstm adapts all weights"):
        LSTM(MLP((3,), hidden=[2]).requires_grad_(False), spec())
