"""Demonstrations of an expert that knows the goal in the plane."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Self

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import PositiveInt
from torch import Tensor

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.data.navigation2d import HORIZON, Square, best_return, expert
from metarun.tasks.environment import RETURN
from metarun.tasks.objectives import Objective
from metarun.tasks.rollouts import Rollouts
from metarun.tasks.task import Examples, Judged, Model, Spec, Task

STEPS, QUERIES = 10, 50  # pairs of a demonstration; pairs of a query
STILL = -30.0  # logarithm of the deviation of actions without noise


def _scores(outputs: Tensor, y: Tensor) -> dict[str, Tensor]:
    return {"mse": F.mse_loss(outputs, y)}


IMITATION = Objective("imitation", RETURN.headline, F.mse_loss, _scores)


class Shown(NamedTuple):
    """One task.

    Attributes:
        goal: (2) the goal.
        starts: (demonstrations, 2) where the expert starts.
        points: (QUERIES, 2) positions of the query.
    """

    goal: np.ndarray
    starts: np.ndarray
    points: np.ndarray


@dataclass(frozen=True)
class Imitated(Examples):
    """Positions and the actions of the expert. In evaluation, the model acts, too.

    Attributes:
        goal: (2) the goal.
    """

    goal: Tensor = None

    def judge(self, model: Model) -> Judged:
        """Return loss and scores on the pairs and, where no gradient is computed, the return."""
        judged = super().judge(model)
        if torch.is_grad_enabled():
            return judged
        return Judged(judged.loss, {**judged.scores, "return": self.act(model).rewards.sum()})

    def act(self, model: Model) -> Rollouts:
        """Return what the model does from the origin, without noise."""

        def policy(x: Tensor) -> Tensor:
            means = model(x)
            return torch.cat([means, torch.full_like(means, STILL)], 1)

        return Square(self.goal[None], [0], 1, HORIZON, 1.0).act(policy)


@dataclass(frozen=True)
class ImitationTasks:
    """A `TaskSource` of goals that an expert walks to.

    Attributes:
        demonstrations: number of demonstrations in a support.
        device, dtype: device and type of the positions.
    """

    demonstrations: int
    device: torch.device | str = field(default="cpu", kw_only=True)
    dtype: torch.dtype = field(default=torch.float32, kw_only=True)
    facts = None
    sha256 = hashlib.sha256(f"navigation2d_imitation 1 {STEPS} {QUERIES}".encode()).hexdigest()
    spec = Spec((2,), 2, IMITATION)

    @property
    def sizes(self) -> tuple[int]:
        return (self.demonstrations,)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        return replace(self, device=device, dtype=dtype)

    def choose(self, rng: np.random.Generator) -> Shown:
        goal, points = rng.uniform(-0.5, 0.5, 2), rng.uniform(-0.5, 0.5, (QUERIES, 2))
        starts = np.concatenate(
            [np.zeros((1, 2)), rng.uniform(-0.5, 0.5, (self.demonstrations - 1, 2))]
        )
        return Shown(goal, starts, points)

    def build(self, choices: Shown, number: int) -> Task:
        points, position = [], choices.starts
        for _ in range(STEPS):
            points.append(position)
            position = position + 0.1 * expert(position, choices.goal)
        support = self._pairs(np.concatenate(points), choices.goal)
        return Task(support, self._pairs(choices.points, choices.goal), number)

    def best_possible(self, choices: Shown) -> dict[str, float]:
        """Return the scores of the expert."""
        return {"return": best_return(choices.goal), "mse": 0.0}

    def _pairs(self, points: np.ndarray, goal: np.ndarray) -> Imitated:
        x, y, goal = (
            torch.from_numpy(a).to(self.device, self.dtype)
            for a in (points, expert(points, goal), goal)
        )
        return Imitated(x, y, IMITATION, goal=goal)


class Imitation:
    """Few-shot imitation in two-dimensional navigation, by behaviour cloning.

    An analogue of Finn et al. 2017, "One-Shot Visual Imitation Learning via Meta-Learning", with an
    exact expert: it moves to the goal as fast as it can. The support is what the expert does on its
    way from the origin and, with further demonstrations, from random positions. The query is what
    it does in other positions of the square. The goal is in the demonstrations only.

    Args:
        demonstrations: number of demonstrations in a support, of 10 steps each.
    """

    def __init__(self, *, demonstrations: PositiveInt = 1) -> None:
        self.tasks = ImitationTasks(demonstrations)

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, ImitationTasks]:
        """The splits `train`, `val` and `test`, which have the same distribution."""
        return dict.fromkeys(SPLITS, self.tasks)
