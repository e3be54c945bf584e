"""The learned optimizer of Li & Malik 2017, a policy trained by reinforcement learning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Annotated, NamedTuple

import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor, nn

from metarun.algorithms.function_optimizer import FunctionOptimizer, Step
from metarun.errors import Refused
from metarun.tasks.optimizee import Optimizee
from metarun.tasks.policy_gradient import gaussian, returns_to_go, surrogate
from metarun.tasks.task import Judged, Spec, Task

LIMIT = 10.0  # of the size of an observed number, so that a step is bounded


class Rollouts(NamedTuple):
    """Paths of a random policy on T functions, B on each.

    Attributes:
        observations: (T, horizon, B, features).
        actions: (T, horizon, B, d).
        values: (T, horizon + 1, B) of the functions.
    """

    observations: Tensor
    actions: Tensor
    values: Tensor


class LearnedOptimizerRL(FunctionOptimizer):
    """A policy that maps what was seen along the path to the next step.

    Li & Malik 2017, "Learning to Optimize": what is observed are the gradients of the last
    `history` points, and how much smaller the present value is than theirs; not the points, so that
    the policy may be used anywhere. The action is the step, Gaussian around the output of a network
    with one hidden layer of softplus units; evaluation takes the output itself. The cost of a step
    is the value of the function after it. Differences from the paper:

    - It is trained by policy gradient (REINFORCE; Williams 1992), with the mean over the rollouts
      of a function as baseline, and not by guided policy search.
    - The outputs are 0 before training; the paper starts from paths of gradient descent with
      momentum.

    Args:
        backbone: not used.
        spec: sets the number of coordinates, which is that of all functions.
        history: points that are observed, the present one included.
        hidden: units of the hidden layer.
        rollouts: of a function, in training.
        noise: initial standard deviation of a step; it is learned.
        discount: factor of the cost of each later step.
    """

    slope = False  # an estimate from random steps

    def __init__(
        self,
        backbone: nn.Module,
        spec: Spec,
        *,
        history: PositiveInt = 25,
        hidden: PositiveInt = 50,
        rollouts: Annotated[int, Field(ge=2)] = 16,
        noise: PositiveFloat = 0.3,
        discount: Annotated[float, Field(gt=0, le=1)] = 0.9,
    ) -> None:
        super().__init__()
        self.history, self.rollouts, self.discount = history, rollouts, discount
        self.policy = nn.Sequential(
            nn.Linear(history * (spec.outputs + 1), hidden),
            nn.Softplus(),
            nn.Linear(hidden, spec.outputs),
        )
        nn.init.zeros_(self.policy[-1].weight)
        nn.init.zeros_(self.policy[-1].bias)
        self.log_std = nn.Parameter(torch.full((spec.outputs,), noise).log())

    def begin(self, functions: Optimizee) -> Step:
        numbers, expected = functions.start.shape[-1], len(self.log_std)
        if numbers != expected:
            raise Refused(
                f"data.family: functions of {numbers} numbers; this policy was trained on those of "
                f"{expected}; algo=learned_optimizer takes any number"
            )
        observe = Observer(self.history, functions.start)
        return lambda value, gradient: self.policy(observe(value, gradient))

    def outer_losses(self, tasks: Sequence[Task]) -> Iterable[Judged]:
        seen = self.roll(Optimizee.stack([task.query for task in tasks]))
        rewards = -seen.values[:, 1:]
        to_go = returns_to_go(rewards, self.discount)
        others = (to_go.sum(-1, keepdim=True) - to_go) / (self.rollouts - 1)
        outputs = self.policy(seen.observations)
        outputs = torch.cat([outputs, self.log_std.expand_as(outputs)], -1)
        log_p = gaussian(outputs).log_prob(seen.actions)
        for log, advantage, values in zip(log_p, to_go - others, seen.values, strict=True):
            scores = {"loss": values[1:].mean(), "final_loss": values[-1].mean()}
            yield Judged(surrogate(log, log, advantage), scores)

    @torch.no_grad()
    def roll(self, functions: Optimizee) -> Rollouts:
        """Take random steps on T stacked functions."""
        start = functions.start.unsqueeze(1).expand(-1, self.rollouts, -1)
        data = tuple(array.unsqueeze(1) for array in functions.data)
        functions = replace(functions, data=data, start=start)
        observe, observations, actions = Observer(self.history, start), [], []

        def step(value: Tensor, gradient: Tensor) -> Tensor:
            observations.append(observe(value, gradient))
            mean = self.policy(observations[-1])
            actions.append(mean + self.log_std.exp() * torch.randn_like(mean))
            return actions[-1]

        values = functions.along(self.path(functions, step)).mT
        return Rollouts(torch.stack(observations, 1), torch.stack(actions, 1), values)


class Observer:
    """What a policy observes, from what was seen along the path.

    Args:
        history: number of points.
        start: (…, d) starting points.
    """

    def __init__(self, history: int, start: Tensor) -> None:
        self.values = start.new_zeros(*start.shape[:-1], history)
        self.gradients = start.new_zeros(*start.shape[:-1], history, start.shape[-1])
        self.seen = 0

    def __call__(self, value: Tensor, gradient: Tensor) -> Tensor:
        """Return the observation (…, history · (d + 1)) after values (…), gradients (…, d)."""
        self.values = torch.cat([value.unsqueeze(-1), self.values[..., :-1]], -1)
        self.gradients = torch.cat([gradient.unsqueeze(-2), self.gradients[..., :-1, :]], -2)
        self.seen += 1
        known = torch.arange(self.values.shape[-1], device=value.device) < self.seen
        changes = (value.unsqueeze(-1) - self.values) * known
        return torch.cat([changes, self.gradients.flatten(-2)], -1).clamp(-LIMIT, LIMIT)
