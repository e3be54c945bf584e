"""Ordinary training and the fitted linear head, against torch's own layers and other optimizers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.optimize import minimize
from torch import Tensor, nn

from metarun.algorithms import Task
from metarun.algorithms.baseline import Baseline, linear
from metarun.algorithms.fitting import fit
from metarun.backbones.conv4 import Conv4
from metarun.backbones.mlp import MLP
from metarun.errors import Refused
from metarun.tasks.sampler import Episodes
from tests.conftest import episodes


class Identity(nn.Module):
    features = 6

    def forward(self, x: Tensor) -> Tensor:
        return x


def small(tasks: int = 2, ways: int = 3, seed: int = 0) -> Episodes:
    return episodes(tasks, ways, shots=2, queries=3, shape=(6,), seed=seed, dtype=torch.float64)


def test_training_is_cross_entropy_over_all_classes_with_their_own_labels() -> None:
    """Twelve classes, of which an episode's labels 0, 1, 2 stand for any three."""
    torch.manual_seed(0)
    model, e = Baseline(MLP((6,), hidden=[5]), Task(3, classes=12)).double(), small()
    found = model.accumulate(e)
    gradients = [p.grad.clone() for p in model.parameters()]

    x, y = [], []
    for t in range(2):
        for items, labels in ((e.support_x, e.support_y), (e.query_x, e.query_y)):
            for item, label in zip(items[t], labels[t], strict=True):
                x.append(item)
                y.append(int(e.classes[t, int(label)]))
    model.zero_grad()
    logits = model.head(model.backbone(torch.stack(x)))
    assert logits.shape == (2 * 15, 12)
    losses = F.cross_entropy(logits, torch.tensor(y), reduction="none")
    losses.mean().backward()
    torch.testing.assert_close(gradients, [p.grad for p in model.parameters()])
    torch.testing.assert_close(found["loss"], losses.view(2, 15).mean(1).detach())
    right = (logits.argmax(1) == torch.tensor(y)).double()
    torch.testing.assert_close(found["accuracy"], right.view(2, 15).mean(1))


def test_the_new_head_takes_the_steps_of_a_plain_layer_on_one_task() -> None:
    """`nn.Linear`, momentum and weight decay written out, one task after the other."""
    model, e = Baseline(Identity(), Task(3, classes=12), head_steps=20, head_lr=0.1), small()
    found = model.predict(e.support_x, e.support_y, e.query_x)
    for t in range(2):
        layer = nn.Linear(6, 3).double()
        for p in layer.parameters():
            nn.init.zeros_(p)
        speeds: list[Tensor | None] = [None, None]
        for _ in range(20):
            loss = F.cross_entropy(layer(e.support_x[t]), e.support_y[t])
            slopes = torch.autograd.grad(loss, [*layer.parameters()])
            for k, (p, slope) in enumerate(zip(layer.parameters(), slopes, strict=True)):
                slope = slope + 1e-3 * p.data
                speed = speeds[k]
                speeds[k] = slope if speed is None else 0.9 * speed + 0.1 * slope
                p.data -= 0.1 * speeds[k]
        torch.testing.assert_close(found[t], layer(e.query_x[t]).detach())


def test_a_long_fit_ends_at_the_convex_optimum() -> None:
    """The minimum of cross-entropy and weight decay, as L-BFGS finds it in scipy."""
    e, decay = small(tasks=2), 0.05
    start = torch.zeros(2, 3, 6).double(), torch.zeros(2, 1, 3).double()
    steps = {"steps": 1500, "lr": 0.5, "momentum": 0.9, "weight_decay": decay}
    found = fit(linear, start, e.support_x, e.support_y, **steps)
    for t in range(2):
        x = np.concatenate([e.support_x[t].numpy(), np.ones((6, 1))], 1)
        y = e.support_y[t].numpy()

        def objective(flat: np.ndarray, x: np.ndarray = x, y: np.ndarray = y) -> float:
            logits = x @ flat.reshape(7, 3)
            chosen = logits[np.arange(6), y]
            return np.mean(np.log(np.exp(logits).sum(1)) - chosen) + decay / 2 * flat @ flat

        best = minimize(objective, np.zeros(21), method="L-BFGS-B", tol=1e-14).x.reshape(7, 3)
        np.testing.assert_allclose(found[0][t].numpy(), best[:6].T, atol=1e-4)
        np.testing.assert_allclose(found[1][t, 0].numpy(), best[6], atol=1e-4)


def test_no_label_is_unlike_the_others() -> None:
    model, e = Baseline(Identity(), Task(3, classes=12)), small()
    new = torch.tensor([2, 0, 1])  # label 0 becomes 2, …
    logits = model.predict(e.support_x, e.support_y, e.query_x)
    relabelled = model.predict(e.support_x, new[e.support_y], e.query_x)
    torch.testing.assert_close(relabelled[..., new], logits)
    assert logits.std() > 0.01


def test_evaluation_ways_need_not_be_those_of_training() -> None:
    e = episodes(ways=7)
    model = Baseline(Conv4((1, 28, 28), filters=4), Task(3, classes=12))
    assert model.predict(e.support_x, e.support_y, e.query_x).shape == (2, 28, 7)


def test_running_averages_follow_training_and_rest_in_evaluation() -> None:
    model, e = Baseline(Conv4((1, 28, 28), filters=4), Task(3, classes=12)), episodes()
    norm = model.backbone.blocks[1]
    model.accumulate(e)
    trained = norm.running_mean.clone()
    assert trained.abs().sum() > 0
    model.predict(e.support_x, e.support_y, e.query_x)
    assert torch.equal(norm.running_mean, trained)


def test_data_without_classes_is_refused() -> None:
    with pytest.raises(Refused, match="baseline"):
        Baseline(Identity(), Task(1))
