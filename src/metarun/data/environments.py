"""Tasks whose support and query are environments in which a policy acts."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
import torch

from metarun.tasks.environment import RETURN, Environment
from metarun.tasks.task import Spec, Task

SEEDS = 2**31  # of tasks; a query has the seed of its support and this number


@dataclass(frozen=True)
class EnvironmentTasks:
    """Base class of `TaskSource`s of environments. A subclass defines `law` and `environment`.

    Attributes:
        rollouts: rollouts in a support at each inner step, and in a query.
        horizon: time steps of a rollout.
        discount: factor of the rewards of each later step in the loss.
        device, dtype: device and type of the observations.
    """

    rollouts: int
    horizon: int
    discount: float
    device: torch.device | str = field(default="cpu", kw_only=True)
    dtype: torch.dtype = field(default=torch.float32, kw_only=True)
    facts = None

    @property
    @abstractmethod
    def environment(self) -> type[Environment]:
        """The kind of environment; its docstring has the distribution of the tasks."""

    @abstractmethod
    def law(self, rng: np.random.Generator) -> np.ndarray:
        """Draw what distinguishes a task."""

    @property
    def spec(self) -> Spec:
        kind = self.environment
        return Spec(kind.inputs, kind.outputs, RETURN, kind="environments")

    @property
    def sha256(self) -> str:
        kind = self.environment
        text = f"{kind.__name__} {kind.version} {self.discount}"
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def sizes(self) -> tuple[int, int]:
        return self.rollouts, self.horizon

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        return replace(self, device=device, dtype=dtype)

    def choose(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return self.law(rng), np.asarray(rng.integers(SEEDS))

    def build(self, choices: tuple[np.ndarray, np.ndarray], number: int) -> Task:
        law = torch.from_numpy(choices[0]).to(self.device, self.dtype)[None]
        seed, sizes = int(choices[1]), (self.rollouts, self.horizon, self.discount)
        support = self.environment(law, [seed], *sizes)
        return Task(support, self.environment(law, [seed + SEEDS], *sizes, support), number)
