"""Supervised training and the fitted linear head, against torch layers and other optimizers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn

from metarun import testing
from metarun.algorithms.baseline import Baseline
from metarun.algorithms.fitting import fit
from metarun.backbones.conv4 import Conv4
from metarun.backbones.mlp import MLP
from metarun.errors import Refused
from metarun.tasks.task import Task
from metarun.training.gradient import adapt
from tests.algorithms.learners import fit_in_mini_batches, predict, ragged, relabelled, spec
from tests.conftest import scores_of, tasks


class Identity(nn.Module):
    features = 6

    def forward(self, x: Tensor) -> Tensor:
        return x


def small(count: int = 2, ways: int = 3, seed: int = 0) -> list[Task]:
    return testing.tasks(count, ways, shots=2, queries=3, shape=(6,), seed=seed)


def test_training_is_cross_entropy_over_all_classes() -> None:
    """The labels 0, 1, 2 of a task are any three of twelve classes."""
    torch.manual_seed(0)
    model, batch = Baseline(MLP((6,), hidden=[5]), spec(classes=12)).double(), small()
    scores = scores_of(model, batch)
    gradients = [p.grad.clone() for p in model.parameters()]

    x, y = [], []
    for task in batch:
        for half in (task.support, task.query):
            for item, label in zip(half.x, half.y, strict=True):
                x.append(item)
                y.append(int(task.classes[int(label)]))
    model.zero_grad()
    logits = model.head(model.backbone(torch.stack(x)))
    assert logits.shape == (2 * 15, 12)
    losses = F.cross_entropy(logits, torch.tensor(y), reduction="none")
    losses.mean().backward()
    torch.testing.assert_close(gradients, [p.grad for p in model.parameters()])
    torch.testing.assert_close(scores["loss"], losses.view(2, 15).mean(1).detach())
    correct = (logits.argmax(1) == torch.tensor(y)).double()
    torch.testing.assert_close(scores["accuracy"], correct.view(2, 15).mean(1))


def test_the_new_head_is_fitted_by_momentum_sgd() -> None:
    """Explicit momentum and weight decay on an `nn.Linear` for each task give the same logits."""
    model, batch = Baseline(Identity(), spec(classes=12), head_steps=20, head_lr=0.1), small()
    for task, actual in zip(batch, predict(model, batch), strict=True):
        layer = nn.Linear(6, 3).double()
        for p in layer.parameters():
            nn.init.zeros_(p)
        velocities: list[Tensor | None] = [None, None]
        for _ in range(20):
            loss = F.cross_entropy(layer(task.support.x), task.support.y)
            grads = torch.autograd.grad(loss, [*layer.parameters()])
            for k, (p, grad) in enumerate(zip(layer.parameters(), grads, strict=True)):
                grad = grad + 1e-3 * p.data
                velocity = velocities[k]
                velocities[k] = grad if velocity is None else 0.9 * velocity + 0.1 * grad
                p.data -= 0.1 * velocities[k]
        torch.testing.assert_close(actual, layer(task.query.x).detach())


def test_mini_batches_from_a_random_start_are_the_fit_of_the_authors_code() -> None:
    """Passes in batches of 4 of an `nn.Linear` with torch's SGD."""
    options = {"head_fit": "mini_batch", "head_steps": 3, "head_lr": 0.01}
    model, batch = Baseline(Identity(), spec(classes=12), **options), small()
    for task, actual in zip(batch, predict(model, batch), strict=True):
        torch.manual_seed(0)
        layer = nn.Linear(6, 3).double()
        fit_in_mini_batches(layer, task.support.x, task.support.x.sum(1), task.support.y)
        torch.testing.assert_close(actual, layer(task.query.x).detach())


def test_they_do_not_depend_on_the_order_of_the_support() -> None:
    model = Baseline(Identity(), spec(classes=12), head_fit="mini_batch", head_steps=3)
    (task,) = small(1)
    order = torch.randperm(len(task.support))
    logits = [model.adapt(support)(task.query.x) for support in (task.support, task.support[order])]
    torch.testing.assert_close(logits[0], logits[1])


def test_they_leave_the_random_numbers_of_the_run_alone() -> None:
    model = Baseline(Identity(), spec(classes=12), head_fit="mini_batch", head_steps=3)
    (task,), before = small(1), torch.get_rng_state()
    model.adapt(task.support)
    assert torch.equal(torch.get_rng_state(), before)


def test_a_long_fit_converges_to_the_optimum() -> None:
    """The minimum of cross-entropy with weight decay, computed by L-BFGS in SciPy."""
    batch, decay = small(), 0.05
    start = torch.zeros(2, 3, 6).double(), torch.zeros(2, 1, 3).double()
    steps = {"steps": 1500, "lr": 0.5, "momentum": 0.9, "weight_decay": decay}
    support_x = torch.stack([task.support.x for task in batch])
    support_y = torch.stack([task.support.y for task in batch])
    linear = Baseline(Identity(), spec(classes=12)).fitted
    weight, bias = fit(linear, start, support_x, support_y, **steps)
    for t in range(2):
        x = np.concatenate([support_x[t].numpy(), np.ones((6, 1))], 1)
        y = support_y[t].numpy()

        def objective(flat: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            logits = x @ flat.reshape(7, 3)
            target = logits[np.arange(6), y]
            return np.mean(np.log(np.exp(logits).sum(1)) - target) + decay / 2 * flat @ flat

        best = minimize(objective, np.zeros(21), method="L-BFGS-B", tol=1e-14).x.reshape(7, 3)
        np.testing.assert_allclose(weight[t].numpy(), best[:6].T, atol=1e-4)
        np.testing.assert_allclose(bias[t, 0].numpy(), best[6], atol=1e-4)


def test_predictions_do_not_depend_on_the_labels_of_classes() -> None:
    model, batch = Baseline(Identity(), spec(classes=12)), small()
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    logits = predict(model, batch)
    torch.testing.assert_close(predict(model, relabelled(batch, new))[..., new], logits)
    assert logits.std() > 0.01


def test_ways_may_differ_between_training_and_evaluation() -> None:
    model = Baseline(Conv4((1, 28, 28), filters=4), spec(classes=12))
    assert predict(model, tasks(ways=7)).shape == (2, 28, 7)


def test_only_training_updates_running_averages() -> None:
    model = Baseline(Conv4((1, 28, 28), filters=4), spec(classes=12))
    norm = model.backbone.blocks[1]
    scores_of(model, tasks())
    trained = norm.running_mean.clone()
    assert trained.abs().sum() > 0
    predict(model, tasks())
    assert torch.equal(norm.running_mean, trained)


def test_tasks_of_different_sizes_have_equal_weight_and_separate_heads() -> None:
    torch.manual_seed(0)
    model, batch = Baseline(MLP((6,), hidden=[5]), spec(classes=12)).double(), ragged()
    actual = scores_of(model, batch)["loss"]
    gradients = [p.grad.clone() for p in model.parameters()]
    x, y = [], []
    for task in batch:
        x += [task.support.x, task.query.x]
        y.append(task.classes[torch.cat([task.support.y, task.query.y])])
    logits = model.head(model.backbone(torch.cat(x))).split([len(labels) for labels in y])
    losses = torch.stack([F.cross_entropy(*pair) for pair in zip(logits, y, strict=True)])
    torch.testing.assert_close(actual, losses.detach())
    expected = torch.autograd.grad(losses.mean(), [*model.parameters()])
    torch.testing.assert_close(gradients, list(expected))

    for task, adapted in zip(batch, adapt(model.eval(), batch), strict=True):
        torch.testing.assert_close(adapted(task.query.x), predict(model, [task])[0])


def test_data_without_classes_is_refused() -> None:
    with pytest.raises(Refused, match="baseline"):
        Baseline(Identity(), spec(1))
