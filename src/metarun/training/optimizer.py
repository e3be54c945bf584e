"""The outer optimizer with its learning rate schedule and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Literal

import torch
import torch.distributed as dist
from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from metarun.algorithms import Learner
from metarun.algorithms.trust_region import curvature, trust_region_step
from metarun.config.schema import RunConfig
from metarun.tasks.task import Spec, Task

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

    def step(self, step: int, learner: Learner | None = None, tasks: Sequence[Task] = ()) -> float:
        """Take outer step `step` (from 0) and return the norm of the meta-gradient before clipping.

        Args:
            learner, tasks: of the meta-gradient; read by `TrustRegion`.

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


class TrustRegion(Outer):
    """Takes steps of `trust_region_step`, on the rollouts that the meta-gradient was computed from.

    The divergence is that of the adapted policies, on the queries, and depends on the learner's
    parameters through the inner loop. There is no state between steps.

    Args:
        settings: of `trust_region_step`.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], steps: int, **settings: float) -> None:
        super().__init__(torch.optim.SGD(parameters), steps, "none", 1, 1.0, None, None)
        self.settings = settings

    def step(self, step: int, learner: Learner | None = None, tasks: Sequence[Task] = ()) -> float:
        def again(divergence: bool = False) -> Tensor:
            replayed = [Task(t.support.again(), t.query.again(divergence), t.number) for t in tasks]
            return torch.stack([judged.loss for judged in learner.outer_losses(replayed)]).mean()

        parameters = [p for p in self.optimizer.param_groups[0]["params"] if p.grad is not None]
        slope = parameters_to_vector([p.grad for p in parameters])
        norm = float(slope.norm())
        if not math.isfinite(norm):
            raise FloatingPointError(f"the norm of the meta-gradient is {norm}")
        trust_region_step(
            parameters,
            slope,
            curvature(again(divergence=True), parameters),
            lambda: (float(again().detach()), float(again(divergence=True).detach())),
            **self.settings,
        )
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


def trpo(
    parameters: Iterable[nn.Parameter],
    steps: int,
    *,
    max_kl: PositiveFloat = 0.01,
    damping: NonNegativeFloat = 1e-5,
    cg_steps: PositiveInt = 10,
    backtracks: PositiveInt = 15,
    shrink: Annotated[float, Field(gt=0, lt=1)] = 0.8,
) -> Outer:
    """Trust-region policy optimization (Schulman et al. 2015), for environments."""
    settings = {"max_kl": max_kl, "damping": damping, "cg_steps": cg_steps}
    return TrustRegion(parameters, steps, **settings, backtracks=backtracks, shrink=shrink)


def check_optimizer(optimizer: object, config: RunConfig, spec: Spec) -> list[str]:
    """Return a mistake if `trpo` cannot train on these tasks."""
    if optimizer is trpo and spec.examples:
        data = config.choices.data
        return [
            f"optimizer=trpo data={data}: needs rollouts of policies, and tasks of {data} are "
            "examples; use optimizer=adam"
        ]
    if optimizer is trpo and (config.workers != 1 or dist.is_initialized()):
        return ["optimizer=trpo: a step takes one process; use workers=1 or optimizer=adam"]
    return []
