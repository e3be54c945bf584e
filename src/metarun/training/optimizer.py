"""The outer optimizer with its learning rate schedule and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn

Schedule = Literal["none", "step", "cosine", "linear"]


class Outer:
    """Updates the learner's parameters by the meta-gradient.

    Args:
        optimizer: a torch optimizer.
        steps: outer steps of the whole run, the length of the `cosine` and `linear` schedules.
        schedule: `none`: constant rate; `step`: multiplied by `decay` after every `decay_every`
            steps; `cosine`: cosine annealing to 0 over the run (Loshchilov & Hutter 2017, without
            restarts); `linear`: linear decay to 0 over the run.
        clip: the largest norm of the meta-gradient; `None` does not clip.
        clip_value: the largest absolute value of its elements, limited after the norm; `None` does
            not clip.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        steps: int,
        schedule: Schedule,
        decay_every: int,
        decay: float,
        clip: float | None,
        clip_value: float | None,
    ) -> None:
        self.optimizer, self.steps, self.schedule = optimizer, steps, schedule
        self.decay_every, self.decay = decay_every, decay
        self.clip, self.clip_value = clip, clip_value
        self.lr = optimizer.param_groups[0]["lr"]

    def factor(self, step: int) -> float:
        """The factor of the learning rate in outer step `step` (from 0)."""
        if self.schedule == "step":
            return self.decay ** (step // self.decay_every)
        if self.schedule == "cosine":
            return 0.5 * (1 + math.cos(math.pi * step / self.steps))
        if self.schedule == "linear":
            return 1 - step / self.steps
        return 1.0

    def step(self, step: int) -> float:
        """Take outer step `step` (from 0) and return the norm of the meta-gradient before clipping.

        Raises:
            FloatingPointError: the meta-gradient is not finite; the parameters are unchanged.
        """
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        limit = math.inf if self.clip is None else self.clip
        norm = float(nn.utils.clip_grad_norm_(parameters, limit))
        if not math.isfinite(norm):
            raise FloatingPointError(f"the norm of the meta-gradient is {norm}")
        if self.clip_value is not None:
            nn.utils.clip_grad_value_(parameters, self.clip_value)
        for group in self.optimizer.param_groups:
            group["lr"] = self.lr * self.factor(step)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return norm


def adam(
    parameters: Iterable[nn.Parameter],
    steps: int,
    *,
    lr: PositiveFloat = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    weight_decay: NonNegativeFloat = 0.0,
    schedule: Schedule = "none",
    decay_every: PositiveInt = 2000,
    decay: PositiveFloat = 0.5,
    clip: PositiveFloat | None = None,
    clip_value: PositiveFloat | None = None,
) -> Outer:
    """Adam (Kingma & Ba 2015), with decoupled weight decay (Loshchilov & Hutter 2019)."""
    optimizer = torch.optim.AdamW(
        parameters, lr=lr, betas=(beta1, beta2), weight_decay=weight_decay
    )
    return Outer(optimizer, steps, schedule, decay_every, decay, clip, clip_value)


def sgd(
    parameters: Iterable[nn.Parameter],
    steps: int,
    *,
    lr: PositiveFloat = 0.1,
    momentum: NonNegativeFloat = 0.9,
    nesterov: bool = False,
    weight_decay: NonNegativeFloat = 0.0,
    schedule: Schedule = "none",
    decay_every: PositiveInt = 2000,
    decay: PositiveFloat = 0.5,
    clip: PositiveFloat | None = None,
    clip_value: PositiveFloat | None = None,
) -> Outer:
    """Stochastic gradient descent with momentum; weight decay is an L2 penalty."""
    optimizer = torch.optim.SGD(
        parameters, lr=lr, momentum=momentum, nesterov=nesterov, weight_decay=weight_decay
    )
    return Outer(optimizer, steps, schedule, decay_every, decay, clip, clip_value)
