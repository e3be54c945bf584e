"""Environments in which a policy acts: the supports and queries of reinforcement learning."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Generator, Tensor
from torch.distributions import kl_divergence

from metarun.tasks.headline import Headline
from metarun.tasks.objectives import Objective
from metarun.tasks.policy_gradient import (
    advantages,
    linear_baseline,
    returns_to_go,
    surrogate,
)
from metarun.tasks.rollouts import GAUSSIAN, Policy, Rollouts
from metarun.tasks.task import Judged, Model

RETURN = Objective("return", Headline("return", higher_is_better=True), differentiable=False)
# Without a support: a policy learns while it acts, by the rewards that are in its observations.
TRIAL = Objective("trial", Headline("return", higher_is_better=True), differentiable=False)
Draw = Callable[..., Tensor]
AFTER = "return_after_{}"  # score of the policy that acts in the support, by finished inner steps


class NoSupport:
    """The support of a trial: nothing was done in it."""

    objective, labels = TRIAL, 0
    taken: Sequence[Rollouts] = ()

    def again(self) -> NoSupport:
        return self


class Environment(ABC):
    """A support or query in which a model acts; an `Evidence` for metarun's learners.

    Every call of `loss` or `judge` samples new rollouts. They depend on the seed and the number of
    earlier calls only, and on no other task. The model maps observations (rows, *shape) to outputs
    (rows, K) of the policy; the rows of a task are consecutive. A model with a method `unroll` has
    a memory: it maps observations (T, rows, *shape) and the memory of the steps before, at first
    `None`, to outputs (T, rows, K) and the memory.

    A subclass defines `reset` and `step` for all rows at once; a row is one rollout of a task. Its
    `inputs` is the shape of an observation, and `outputs` the number K.

    Args:
        laws: (N, …) what distinguishes the tasks; N is 1 except in `together`.
        seeds: (N) seeds of the random numbers of each task.
        rollouts: number B of rollouts of each task.
        horizon: number T of time steps.
        discount: factor of the rewards of each later step in the loss.
        support: of the same task; its returns are further scores of the query.
    """

    objective, labels = RETURN, 0
    policy: Policy = GAUSSIAN
    noise: int  # size of the policy's noise
    normalise: bool = True  # the advantages of each task

    def __init__(
        self,
        laws: Tensor,
        seeds: Sequence[int],
        rollouts: int,
        horizon: int,
        discount: float,
        support: Environment | None = None,
    ) -> None:
        self.laws, self.seeds, self.support = laws, tuple(seeds), support
        self.rollouts, self.horizon, self.discount = rollouts, horizon, discount
        self.members: Sequence[Environment] = ()
        self.taken: list[Rollouts] = []
        self.recorded: list[Rollouts] | None = None
        self.by_divergence = False

    @property
    def tasks(self) -> int:
        """The number N of tasks."""
        return len(self.seeds)

    @abstractmethod
    def reset(self, laws: Tensor, draw: Draw) -> Tensor:
        """Begin a rollout in each row, and return the observations (rows, *shape).

        Args:
            laws: (rows, …) the law of each row.
            draw: maps a shape to uniform random numbers (rows, *shape).
        """

    @abstractmethod
    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return the next observations, and the reward and the end (boolean) of each row."""

    def loss(self, model: Model) -> Tensor:
        """Return the surrogate loss, summed over the tasks."""
        return self._losses(model, self.act(model)).sum()

    def judge(self, model: Model) -> Judged:
        return self.judge_all(model)[0]

    def judge_all(self, model: Model) -> list[Judged]:
        """Return the surrogate loss of each task, and its mean return.

        The score `loss` is minus the discounted return, whose gradient the surrogate estimates, up
        to the scale of the advantages.
        """
        rollouts, queries = self.act(model), self.members or [self]
        returns = self.by_task(returns_to_go(rollouts.rewards, self.discount))[:, 0].mean(1)
        totals = self.by_task(rollouts.rewards).sum(1).mean(1)
        losses = self._losses(model, rollouts)
        return [
            Judged(loss, {"loss": -discounted, **query.before(), "return": total})
            for query, loss, discounted, total in zip(queries, losses, returns, totals, strict=True)
        ]

    def before(self) -> dict[str, Tensor]:
        """Return the mean returns in the support, before each of the inner steps."""
        taken = [] if self.support is None else self.support.taken
        return {AFTER.format(k): done.rewards.sum(0).mean() for k, done in enumerate(taken)}

    def again(self, divergence: bool = False) -> Environment:
        """Return a copy in which calls get the rollouts that were taken here, in the same order.

        Args:
            divergence: the loss is the divergence KL(policy that acted ‖ model) instead.
        """
        twin = copy.copy(self)
        twin.taken, twin.recorded = [], self.taken
        twin.by_divergence = divergence
        return twin

    @torch.no_grad()
    def act(self, model: Model) -> Rollouts:
        """Sample rollouts, and keep them in `taken`."""
        if self.members and self.members[0].recorded is not None:
            parts = [member.act(model) for member in self.members]
            rollouts = Rollouts(*(torch.cat(arrays, 1) for arrays in zip(*parts, strict=True)))
        elif self.recorded is not None:
            rollouts = self.recorded[len(self.taken)]
        else:
            rollouts = self._sampled(model)
            for i, member in enumerate(self.members):
                rows = slice(i * self.rollouts, (i + 1) * self.rollouts)
                member.taken.append(Rollouts(*(array[:, rows] for array in rollouts)))
        self.taken.append(rollouts)
        return rollouts

    def _sampled(self, model: Model) -> Rollouts:
        rngs = [Generator().manual_seed(seed + len(self.taken)) for seed in self.seeds]
        laws = self.laws

        def draw(fill: Callable[..., Tensor], *shape: int, dim: int = 0) -> Tensor:
            parts = [fill(torch.empty(shape, dtype=laws.dtype), generator=rng) for rng in rngs]
            return torch.cat(parts, dim).to(laws.device)

        noise = draw(self.policy.noise, self.horizon, self.rollouts, self.noise, dim=1)
        uniform = partial(draw, Tensor.uniform_, self.rollouts)
        x = self.reset(laws.repeat_interleave(self.rollouts, 0), uniform)
        going, memory, steps = torch.ones_like(noise[0, :, 0]), None, []
        for t in range(self.horizon):
            if hasattr(model, "unroll"):
                outputs, memory = model.unroll(x[None], memory)
                outputs = outputs[0]
            else:
                outputs = model(x)
            actions = self.policy.act(outputs, noise[t])
            following, rewards, ended = self.step(actions)
            steps.append((x, actions, rewards * going, going, outputs))
            x, going = following, going * ~ended
        arrays = [torch.stack(array) for array in zip(*steps, strict=True)]
        return Rollouts(*arrays, self._advantages(arrays[0], arrays[2], arrays[3]))

    def _advantages(self, observations: Tensor, rewards: Tensor, mask: Tensor) -> Tensor:
        observations, rewards, mask = map(self.by_task, (observations.flatten(2), rewards, mask))
        values = linear_baseline(observations, returns_to_go(rewards, self.discount), mask)
        by_task = advantages(rewards, values, self.discount, mask=mask, normalise=self.normalise)
        return by_task.movedim(0, 1).flatten(1)

    def by_task(self, of_rows: Tensor) -> Tensor:
        """(T, N·B, …) → (N, T, B, …)."""
        return of_rows.unflatten(1, (-1, self.rollouts)).movedim(1, 0)

    def _losses(self, model: Model, rollouts: Rollouts) -> Tensor:
        measure = self.divergences if self.by_divergence else self.surrogates
        return measure(model, rollouts)

    def surrogates(self, model: Model, rollouts: Rollouts) -> Tensor:
        """Return the surrogate loss of each task, (N)."""
        outputs = self._predicted(model, rollouts)
        new, old = (
            self.policy.distribution(o).log_prob(rollouts.actions)
            for o in (outputs, rollouts.outputs)
        )
        return surrogate(*map(self.by_task, (new, old, rollouts.advantages)), dim=(1, 2))

    def divergences(self, model: Model, rollouts: Rollouts) -> Tensor:
        """Return the mean divergence of the model from the policy that acted, of each task, (N)."""
        outputs = self._predicted(model, rollouts)
        old, new = map(self.policy.distribution, (rollouts.outputs, outputs))
        kl, mask = map(self.by_task, (kl_divergence(old, new) * rollouts.mask, rollouts.mask))
        return kl.sum((1, 2)) / mask.sum((1, 2))

    def _predicted(self, model: Model, rollouts: Rollouts) -> Tensor:
        """Return the outputs (T, N·B, K) of a model for the observations of rollouts."""
        x = rollouts.observations
        if hasattr(model, "unroll"):
            return model.unroll(x, None)[0]
        rows = x.transpose(0, 1).flatten(0, 1)  # the rows of a task are consecutive
        return model(rows).unflatten(0, (x.shape[1], x.shape[0])).transpose(0, 1)


def together(environments: Sequence[Environment]) -> Environment:
    """Return one environment for the tasks of several of the same kind.

    Its rollouts are those of each environment alone, in whose `taken` they are kept, too.
    """
    first = environments[0]
    twin = copy.copy(first)
    twin.members, twin.taken = environments, list(first.taken)
    twin.laws = torch.cat([environment.laws for environment in environments])
    twin.seeds = tuple(seed for environment in environments for seed in environment.seeds)
    return twin
