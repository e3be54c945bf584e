"""A half-cheetah that learns by its rewards where, or how fast, it should run."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import Field, PositiveFloat, PositiveInt
from torch import Tensor

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.data.environments import EnvironmentTasks
from metarun.errors import Refused
from metarun.tasks.environment import Draw, Environment

MODEL = "envs/mujoco/assets/half_cheetah.xml"  # in gymnasium
SUBSTEPS, TIME_STEP = 5, 0.05  # seconds of a step of the policy
CONTROL, MASS = 0.05, 14.0  # cost of the squared actions; kilograms
START = 0.1  # positions and velocities at the start are uniform in ± this


@cache
def model() -> Any:
    """The body of gymnasium's HalfCheetah, for MuJoCo.

    Raises:
        Refused: a package is missing.
    """
    gymnasium = find_spec("gymnasium")
    if gymnasium is None or find_spec("mujoco") is None:
        raise Refused(
            "data: the half-cheetah needs MuJoCo and gymnasium: pip install 'metarun[robots]'"
        )
    import mujoco

    xml = Path(gymnasium.submodule_search_locations[0], MODEL).read_text("utf-8")
    body = mujoco.MjModel.from_xml_string(xml.replace(f' settotalmass="{MASS:g}"', ""))
    mujoco.mj_setTotalmass(body, MASS)  # the attribute is deprecated
    mujoco.mj_setConst(body, mujoco.MjData(body))
    return body


class Cheetah(Environment):
    """The law is the wanted direction or velocity, which a subclass compares with the velocity.

    An observation is that of gymnasium's HalfCheetah: all positions but that along the way, and the
    velocities. The code of Finn et al. (2017) adds the centre of mass. Actions are torques, limited
    to ±1. A step costs 0.05 times their square. Only the last step ends a rollout.
    """

    inputs, outputs, noise = (17,), 12, 6

    @abstractmethod
    def value(self, velocities: Tensor) -> Tensor:
        """Return the rewards of velocities in m/s, (rows), without the cost of the actions."""

    def reset(self, laws: Tensor, draw: Draw) -> Tensor:
        import mujoco

        self.wanted, body = laws[:, 0], model()
        start = START * (2 * draw(body.nq + body.nv).double().cpu().numpy() - 1)
        self.states = np.concatenate([np.zeros((len(start), 1)), start], 1)  # time, positions, …
        self.states[:, 1 : 1 + body.nq] += body.qpos0
        self.data = mujoco.MjData(body)
        return self._observed()

    def step(self, actions: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        from mujoco.rollout import rollout

        limited, before = actions.clamp(-1, 1), self.states[:, 1]
        torques = limited.double().cpu().numpy()[:, None].repeat(SUBSTEPS, 1)
        self.states = rollout(model(), self.data, self.states, torques)[0][:, -1]
        velocities = torch.from_numpy((self.states[:, 1] - before) / TIME_STEP).to(actions)
        reward = self.value(velocities) - CONTROL * limited.square().sum(-1)
        return self._observed(), reward, torch.zeros_like(reward, dtype=torch.bool)

    def _observed(self) -> Tensor:
        return torch.from_numpy(self.states[:, 2:]).to(self.laws)


class Direction(Cheetah):
    """The reward is the velocity forwards (law 1) or backwards (law −1)."""

    version = 1

    def value(self, velocities: Tensor) -> Tensor:
        return self.wanted * velocities


class Velocity(Cheetah):
    """The reward is minus the difference from the wanted velocity."""

    version = 1

    def value(self, velocities: Tensor) -> Tensor:
        return -(velocities - self.wanted).abs()


class DirectionTasks(EnvironmentTasks):
    """Both directions, equally often."""

    environment = Direction

    def law(self, rng: np.random.Generator) -> np.ndarray:
        return np.array([rng.choice([-1.0, 1.0])])


@dataclass(frozen=True)
class VelocityTasks(EnvironmentTasks):
    """Wanted velocities.

    Attributes:
        fastest: the largest of them, in m/s.
    """

    fastest: float
    environment = Velocity

    def law(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(0, self.fastest, 1)


class _Runner:
    """A data set of a half-cheetah."""

    tasks: EnvironmentTasks

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, EnvironmentTasks]:
        """The splits `train`, `val` and `test`, which have the same distribution.

        Raises:
            Refused: MuJoCo is not installed.
        """
        model()
        return dict.fromkeys(SPLITS, self.tasks)


class CheetahDirection(_Runner):
    """A half-cheetah that should run forwards or backwards (Finn et al. 2017, section 5.3).

    Args:
        rollouts: rollouts in a support at each inner step, and in a query.
        horizon: time steps of a rollout, of 0.05 seconds.
        discount: factor of the rewards of each later step in the loss. The return is their sum.
    """

    def __init__(
        self,
        *,
        rollouts: PositiveInt = 20,
        horizon: PositiveInt = 200,
        discount: Annotated[float, Field(gt=0, le=1)] = 0.99,
    ) -> None:
        self.tasks = DirectionTasks(rollouts, horizon, discount)


class CheetahVelocity(_Runner):
    """A half-cheetah that should run at a given velocity (Finn et al. 2017, section 5.3).

    Args:
        fastest: wanted velocities are uniform between 0 and this, in m/s.
        rollouts, horizon, discount: as of `CheetahDirection`.
    """

    def __init__(
        self,
        *,
        fastest: PositiveFloat = 2.0,
        rollouts: PositiveInt = 20,
        horizon: PositiveInt = 200,
        discount: Annotated[float, Field(gt=0, le=1)] = 0.99,
    ) -> None:
        self.tasks = VelocityTasks(rollouts, horizon, discount, fastest)
