"""Small smooth learners in float64, their meta-gradients, and what these should be."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.algorithms import Learner
from metarun.backbones.mlp import MLP
from metarun.backbones.norm import normalised_by
from metarun.tasks.task import Task
from metarun.testing import tasks
from metarun.training.gradient import accumulate
from tests.algorithms.learners import spec
from tests.conftest import scores_of


def smooth(
    kind: type[Learner], seed: int = 0, hidden: Sequence[int] = (4,), **options: object
) -> Learner:
    """A learner for 3 ways of vectors of 6 numbers, with softplus for ReLU."""
    torch.manual_seed(seed)
    net = MLP((6,), hidden=list(hidden))
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):  # a kink within a difference's reach would spoil it
            layer.forward = F.softplus
    return kind(net, spec(), **options).double()


def small(count: int = 2, seed: int = 0) -> list[Task]:
    return tasks(count, ways=3, shots=2, queries=3, shape=(6,), seed=seed)


def gradient(model: Learner, given: Sequence[Task], seed: int = 0) -> Tensor:
    """What `accumulate` leaves in `.grad`, all parameters one after another."""
    model.zero_grad()
    accumulate(model, given, seed)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def finite_differences(model: Learner, given: Sequence[Task], step: float = 1e-5) -> Tensor:
    """Central differences of the mean query loss in every parameter."""
    slopes = []
    for p in model.parameters():
        for i in range(p.numel()):
            flat, ends = p.data.view(-1), []
            for sign in (1, -1):
                flat[i] += sign * step
                ends.append(scores_of(model, given)["loss"].mean().item())
                flat[i] -= sign * step
            slopes.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


def same_as_wrapper(
    model: Learner, wrapper: nn.Module, parameters: Sequence[nn.Parameter], steps: int
) -> None:
    """Check the meta-gradient against one of learn2learn's wrappers, used as its manual says.

    Args:
        wrapper: round a copy of the model's network.
        parameters: of the wrapper, in the order of `model.parameters()`.
    """
    given = small()
    with normalised_by(wrapper, "batch"):
        for task in given:
            clone = wrapper.clone()
            for _ in range(steps):
                clone.adapt(F.cross_entropy(clone(task.support.x), task.support.y))
            (F.cross_entropy(clone(task.query.x), task.query.y) / len(given)).backward()
    expected = torch.cat([p.grad.flatten() for p in parameters])
    assert expected.norm() > 0.01
    torch.testing.assert_close(gradient(model, given), expected)
