"""SimpleShot, against its formulas, and without training on a frozen network."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from metarun import testing
from metarun.algorithms.simpleshot import SimpleShot
from metarun.errors import Refused
from tests.algorithms.learners import predict, spec
from tests.conftest import scores_of


class Scaled(nn.Module):
    features = 6

    def __init__(self, frozen: bool = False) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.linspace(1, 2, 6), requires_grad=not frozen)

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


def tasks(count: int = 3, seed: int = 0) -> list:
    return testing.tasks(count, 3, shots=2, queries=3, shape=(6,), seed=seed)


@pytest.mark.parametrize("transform", ["un", "l2n", "cl2n"])
def test_logits_are_negative_squared_distances_to_means_of_transformed_features(
    transform: str,
) -> None:
    model = SimpleShot(Scaled(), spec(classes=12), transform=transform).double().eval()
    training = tasks(5, seed=1)
    model.see_training_tasks(training)
    scale = model.backbone.scale.detach()
    seen = torch.cat([x for task in training for x in (task.support.x, task.query.x)]) * scale

    def features(x: Tensor) -> Tensor:
        z = x * scale - (seen.mean(0) if transform == "cl2n" else 0)
        return z if transform == "un" else z / z.norm(dim=1, keepdim=True)

    for task, actual in zip(tasks(), predict(model, tasks()), strict=True):
        z = features(task.support.x)
        means = torch.stack([z[task.support.y == label].mean(0) for label in range(3)])
        distances = (features(task.query.x)[:, None] - means).square().sum(2)
        torch.testing.assert_close(actual, -distances)


def test_the_mean_is_kept_with_the_weights() -> None:
    model = SimpleShot(Scaled(), spec(classes=12)).double()
    model.see_training_tasks(tasks(2, seed=1))
    assert model.training
    other = SimpleShot(Scaled(), spec(classes=12)).double()
    other.load_state_dict(model.state_dict())
    assert torch.equal(predict(other, tasks()), predict(model, tasks()))


def test_training_is_cross_entropy_over_all_classes() -> None:
    model = SimpleShot(Scaled(), spec(classes=12)).double()
    scores_of(model, tasks())
    assert model.head.weight.grad.shape == (12, 6)
    assert model.backbone.scale.grad.abs().max() > 0


def test_a_frozen_network_needs_neither_training_nor_classes() -> None:
    model = SimpleShot(Scaled(frozen=True), spec(classes=0))
    assert not model.learns
    assert not list(p for p in model.parameters() if p.requires_grad)
    with pytest.raises(Refused, match="algo=simpleshot"):
        SimpleShot(Scaled(), spec(classes=0))
