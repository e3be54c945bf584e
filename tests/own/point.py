"""Custom tasks whose support is an environment in which the learner acts."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from pydantic import PositiveInt
from torch import Tensor

from metarun import Headline, Judged, Objective, Spec, Task

RETURN = Objective("return", Headline("return", True), differentiable=False)
STD, STEPS, MAX_STEP = 0.1, 10, 0.1


class Walk:
    """A point starts at 0 and makes STEPS moves; the reward is minus the distance to a goal.

    A model maps positions (B, 2) to the means of Gaussian moves. Each call samples new episodes,
    determined by the seed and the number of previous calls.
    """

    objective, labels = RETURN, 0

    def __init__(self, goal: Tensor, episodes: int, seed: int) -> None:
        self.goal, self.episodes, self.seed, self.calls = goal, episodes, seed, 0

    def loss(self, model: Callable[[Tensor], Tensor]) -> Tensor:
        return self.judge(model).loss

    def judge(self, model: Callable[[Tensor], Tensor]) -> Judged:
        """REINFORCE with the mean return-to-go as baseline (Williams 1992)."""
        rng = torch.Generator().manual_seed(self.seed + self.calls)
        self.calls += 1
        position, positions, moves, rewards = self.goal.new_zeros(self.episodes, 2), [], [], []
        with torch.no_grad():
            for _ in range(STEPS):
                noise = torch.randn(self.episodes, 2, generator=rng, dtype=position.dtype)
                move = model(position) + STD * noise
                positions.append(position)
                moves.append(move)
                position = position + move.clamp(-MAX_STEP, MAX_STEP)
                rewards.append(-(position - self.goal).norm(dim=-1))
            rewards = torch.stack(rewards)  # (STEPS, episodes)
            to_go = rewards.flip(0).cumsum(0).flip(0)
            advantage = (to_go - to_go.mean(1, keepdim=True)).flatten()
        means = model(torch.cat(positions))
        log_p = -((torch.cat(moves) - means) / STD).square().sum(-1) / 2
        loss = -(log_p * advantage).mean()
        return Judged(loss, {"loss": loss.detach(), "return": rewards.sum(0).mean()})


@dataclass(frozen=True)
class Goals:
    """A `TaskSource` with random goals in a square around the start."""

    episodes: int
    dtype: torch.dtype = torch.float32
    facts = None
    spec = Spec((2,), 2, RETURN, kind="environments")
    sha256 = hashlib.sha256(b"point 1").hexdigest()

    @property
    def sizes(self) -> tuple[int]:
        return (self.episodes,)

    def to(self, device: torch.device | str, dtype: torch.dtype) -> "Goals":
        return replace(self, dtype=dtype)

    def choose(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        return rng.uniform(-0.5, 0.5, 2), np.asarray(rng.integers(2**31))

    def build(self, choices: tuple[np.ndarray, np.ndarray], number: int) -> Task:
        goal, seed = torch.from_numpy(choices[0]).to(self.dtype), int(choices[1])
        return Task(
            Walk(goal, self.episodes, seed), Walk(goal, self.episodes, seed + 2**31), number
        )


class Point:
    """2D navigation (Finn et al. 2017, section 5.3).

    Args:
        episodes: number of episodes in a support, and in a query.
    """

    def __init__(self, *, episodes: PositiveInt = 20) -> None:
        self.episodes = episodes

    def facts(self) -> dict[str, None]:
        return dict.fromkeys(("train", "val", "test"))

    def load(self) -> dict[str, Goals]:
        return {split: Goals(self.episodes) for split in ("train", "val", "test")}
