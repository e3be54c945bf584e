"""Bandits: arms whose probabilities of a reward a policy finds out while it pulls them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.data.environments import SEEDS, EnvironmentTasks
from metarun.tasks.environment import TRIAL, Draw, Environment, NoSupport
from metarun.tasks.rollouts import CATEGORICAL
from metarun.tasks.task import Spec, Task

MOST_PULLS = 20  # up to which the best possible return is computed

Arms = tuple[tuple[int, int], ...]  # rewards and failures of each arm, sorted


class Bandit(Environment):
    """The law is the probability of a reward of each arm, uniform in [0, 1]. A reward is 1 or 0.

    An observation is the arm of the pull before as a one-hot vector and its reward, (arms + 1); it
    is 0 before the first pull.
    """

    policy, objective, normalise, version = CATEGORICAL, TRIAL, False, 1

    @property
    def outputs(self) -> int:
        """The number of arms, and of numbers of the policy's noise."""
        return self.laws.shape[-1]

    noise = outputs

    def reset(self, laws: Tensor, draw: Draw) -> Tensor:
        self.probabilities, self.luck, self.pulls = laws, draw(self.horizon), 0
        return laws.new_zeros(len(laws), laws.shape[1] + 1)

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        p = self.probabilities.gather(1, actions[:, None])[:, 0]
        reward = (self.luck[:, self.pulls] < p).to(p.dtype)
        self.pulls += 1
        arm = F.one_hot(actions, self.probabilities.shape[1]).to(p.dtype)
        return torch.cat([arm, reward[:, None]], 1), reward, torch.zeros_like(reward).bool()


@dataclass(frozen=True)
class BanditTasks(EnvironmentTasks):
    """Bandits with independent arms.

    Attributes:
        arms: number of arms.
    """

    arms: int
    environment = Bandit

    @property
    def spec(self) -> Spec:
        return Spec((self.arms + 1,), self.arms, TRIAL, kind="trials")

    @property
    def sizes(self) -> tuple[int, ...]:
        return self.rollouts, self.horizon, self.arms

    def law(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(size=self.arms)

    def build(self, choices: tuple[np.ndarray, np.ndarray], number: int) -> Task:
        law = torch.from_numpy(choices[0]).to(self.device, self.dtype)[None]
        query = Bandit(law, [int(choices[1]) + SEEDS], self.rollouts, self.horizon, self.discount)
        return Task(NoSupport(), query, number)

    def best_possible(self, choices: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        """Return the largest expected return over all bandits; nothing for many pulls."""
        if self.horizon > MOST_PULLS:
            return {}
        return {"return": best_return(((0, 0),) * self.arms, self.horizon)}


@cache
def best_return(arms: Arms, pulls: int) -> float:
    """Return the largest expected number of rewards in the remaining pulls.

    The probability of each arm is uniform a priori, so after s rewards and f failures the next pull
    has a reward with probability (s + 1) / (s + f + 2). Dynamic programming over the counts.
    """
    if pulls == 0:
        return 0.0
    best = 0.0
    for arm in set(arms):
        s, f = arm
        p = (s + 1) / (s + f + 2)
        others = list(arms)
        others.remove(arm)
        won, lost = (tuple(sorted([*others, new])) for new in ((s + 1, f), (s, f + 1)))
        value = p * (1 + best_return(won, pulls - 1)) + (1 - p) * best_return(lost, pulls - 1)
        best = max(best, value)
    return best


class Bandits:
    """Bandits with arms of independent, uniform probabilities (Duan et al. 2016, "RL²").

    A task is a bandit. There is no support: a policy with a memory learns from pull to pull. The
    return is the number of rewards.

    Args:
        arms: number of arms.
        pulls: number of pulls.
        rollouts: trials of each bandit, each with an empty memory.
    """

    def __init__(
        self, *, arms: PositiveInt = 5, pulls: PositiveInt = 10, rollouts: PositiveInt = 20
    ) -> None:
        self.tasks = BanditTasks(rollouts, pulls, 1.0, arms)

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, BanditTasks]:
        """The splits `train`, `val` and `test`, which have the same distribution."""
        return dict.fromkeys(SPLITS, self.tasks)
