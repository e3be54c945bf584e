"""A point that moves in the plane to a goal that only its rewards tell."""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.data.environments import EnvironmentTasks
from metarun.tasks.environment import Draw, Environment

HORIZON = 100  # time steps of a rollout, by default
ARRIVED = 0.01  # distance from the goal in both coordinates at which a rollout ends
CORNERS = ((-2.0, -2.0), (2.0, -2.0), (-2.0, 2.0), (2.0, 2.0))
SILENT = 0.5  # distance from the centre, |x| + |y|, up to which the reward is 0


def expert(points: np.ndarray, goal: np.ndarray) -> np.ndarray:
    """Return the actions (…, 2) that lead from the points (…, 2) to the goal as fast as possible.

    They make both coordinates of the gap as small as possible in every step, so no other actions
    have a larger return in `Square`.
    """
    return np.clip(10 * (goal - points), -1, 1)


def best_return(goal: np.ndarray, horizon: int = HORIZON) -> float:
    """Return the return in `Square` of a policy that knows the goal."""
    position, total = np.zeros(2), 0.0
    for _ in range(horizon):
        position = position + 0.1 * expert(position, goal)
        total -= float(np.hypot(*(goal - position)))
        if (np.abs(goal - position) < ARRIVED).all():
            break
    return total


class Square(Environment):
    """The law is the goal, uniform in [−0.5, 0.5]². A rollout starts at the origin.

    An action is limited to ±1 and moves the point by a tenth of it. The reward is minus the
    distance to the goal after the move. The rollout ends at the goal.
    """

    inputs, outputs, noise, version = (2,), 4, 2, 1

    def reset(self, laws: Tensor, draw: Draw) -> Tensor:
        self.goals, self.points = laws, torch.zeros_like(laws)
        return self.points

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        self.points = self.points + 0.1 * actions.clamp(-1, 1)
        gap = self.points - self.goals
        return self.points, -gap.norm(dim=-1), (gap.abs() < ARRIVED).all(-1)


class Corners(Environment):
    """The law is the goal, one of the corners (±2, ±2). A rollout starts in [−0.2, 0.2]².

    An action is limited to ±1 and moves the point by a fifth of it. The reward is how much nearer
    the goal is after the move, but 0 near the centre and where another corner is nearer.
    """

    inputs, outputs, noise, version = (2,), 4, 2, 1

    def reset(self, laws: Tensor, draw: Draw) -> Tensor:
        self.goals, self.points = laws, 0.4 * draw(2) - 0.2
        return self.points

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        before = (self.points - self.goals).norm(dim=-1)
        self.points = self.points + 0.2 * actions.clamp(-1, 1)
        after = (self.points - self.goals).norm(dim=-1)
        corners = torch.cdist(self.points, self.goals.new_tensor(CORNERS))
        silent = (self.points.abs().sum(-1) < SILENT) | (after > corners.amin(-1) + 1e-6)
        reward = (before - after) * ~silent
        return self.points, reward, torch.zeros_like(silent)


class SquareTasks(EnvironmentTasks):
    """Goals in the square."""

    environment = Square

    def law(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(-0.5, 0.5, 2)

    def best_possible(self, choices: tuple[np.ndarray, np.ndarray]) -> dict[str, float]:
        """Return the return of a policy that knows the goal; no learner has a larger one."""
        return {"return": best_return(choices[0], self.horizon)}


class CornerTasks(EnvironmentTasks):
    """Goals in the corners."""

    environment = Corners

    def law(self, rng: np.random.Generator) -> np.ndarray:
        return np.array(CORNERS[rng.integers(len(CORNERS))])


class Navigation:
    """Two-dimensional navigation (Finn et al. 2017, section 5.3).

    The reward is minus the distance, as in the authors' code; their appendix has its square. A
    policy observes its position only.

    Args:
        goals: `square`: as Finn et al.; `corners`: four goals with sparse rewards (Rothfuss et al.
            2019, after the authors' code).
        rollouts: rollouts in a support at each inner step, and in a query.
        horizon: time steps of a rollout, at most.
        discount: factor of the rewards of each later step in the loss. The return is their sum.
    """

    def __init__(
        self,
        *,
        goals: Literal["square", "corners"] = "square",
        rollouts: PositiveInt = 20,
        horizon: PositiveInt = HORIZON,
        discount: Annotated[float, Field(gt=0, le=1)] = 0.99,
    ) -> None:
        kind = SquareTasks if goals == "square" else CornerTasks
        self.tasks = kind(rollouts, horizon, discount)

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, EnvironmentTasks]:
        """The splits `train`, `val` and `test`, which have the same distribution."""
        return dict.fromkeys(SPLITS, self.tasks)
