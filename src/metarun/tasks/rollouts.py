"""Policies and their rollouts."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import Generator, Tensor
from torch.distributions import Distribution

from metarun.tasks.policy_gradient import categorical, gaussian


class Policy(NamedTuple):
    """How outputs of a model become actions.

    Attributes:
        distribution: maps outputs (…, K) to a distribution over actions.
        noise: fills a tensor with random numbers of a generator.
        act: maps outputs and noise to actions, which have that distribution.
    """

    distribution: Callable[[Tensor], Distribution]
    noise: Callable[..., Tensor]
    act: Callable[[Tensor, Tensor], Tensor]


def _gaussian_action(outputs: Tensor, noise: Tensor) -> Tensor:
    mean, log_std = outputs.chunk(2, -1)
    return mean + log_std.exp() * noise


def _gumbel(empty: Tensor, generator: Generator) -> Tensor:
    return -empty.exponential_(generator=generator).log()


GAUSSIAN = Policy(gaussian, Tensor.normal_, _gaussian_action)
CATEGORICAL = Policy(categorical, _gumbel, lambda outputs, noise: (outputs + noise).argmax(-1))


class Rollouts(NamedTuple):
    """What a policy did in T time steps of B rollouts of each of N tasks.

    Attributes:
        observations: (T, N·B, *shape).
        actions: (T, N·B, …).
        rewards: (T, N·B), 0 after the end of a rollout.
        mask: (T, N·B), 1 in steps that were taken and 0 after the end of a rollout.
        outputs: (T, N·B, K) of the model that acted, without a graph.
        advantages: (T, N·B), 0 after the end of a rollout.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    mask: Tensor
    outputs: Tensor
    advantages: Tensor
