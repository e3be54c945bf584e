"""Small smooth learners in float64 and reference values of their meta-gradients."""

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
    """Return a learner for 3 ways and vectors of 6 numbers, with softplus instead of ReLU."""
    torch.manual_seed(seed)
    net = MLP((6,), hidden=list(hidden))
    for layer in net.modules():
        if isinstance(layer, nn.ReLU):  # finite differences across a kink are wrong
            layer.forward = F.softplus
    return kind(net, spec(), **options).double()


def small(count: int = 2, seed: int = 0) -> list[Task]:
    return tasks(count, ways=3, shots=2, queries=3, shape=(6,), seed=seed)


def gradient(model: Learner, batch: Sequence[Task], seed: int = 0) -> Tensor:
    """Return the meta-gradient of `accumulate`, concatenated over all parameters."""
    model.zero_grad()
    accumulate(model, batch, seed)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def finite_differences(model: Learner, batch: Sequence[Task], step: float = 1e-5) -> Tensor:
    """Return central differences of the mean query loss with respect to all parameters."""
    slopes = []
    for p in model.parameters():
        for i in range(p.numel()):
            flat, ends = p.data.view(-1), []
            for sign in (1, -1):
                flat[i] += sign * step
                ends.append(scores_of(model, batch)["loss"].mean().item())
                flat[i] -= sign * step
            slopes.append((ends[0] - ends[1]) / (2 * step))
    return torch.tensor(slopes, dtype=torch.float64)


def same_as_wrapper(
    model: Learner, wrapper: nn.Module, parameters: Sequence[nn.Parameter], steps: int
) -> None:
    """Check the meta-gradient against a wrapper of learn2learn, used as documented.

    Args:
        wrapper: wrapper of a copy of the model's network.
        parameters: parameters of the wrapper, in the order of `model.parameters()`.
    """
    batch = small()
    with normalised_by(wrapper, "batch"):
        for task in batch:
            clone = wrapper.clone()
            for _ in range(steps):
                clone.adapt(F.cross_entropy(clone(task.support.x), task.support.y))
            (F.cross_entropy(clone(task.query.x), task.query.y) / len(batch)).backward()
    expected = torch.cat([p.grad.flatten() for p in parameters])
    assert expected.norm() > 0.01
    torch.testing.assert_close(gradient(model, batch), expected)
