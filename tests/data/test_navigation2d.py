"""The point in the plane beside a second implementation, closed forms and an exact expert."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from metarun.data.navigation2d import CORNERS, Navigation
from metarun.tasks.environment import together
from metarun.tasks.sampler import Sampler


def tasks(count: int, **settings: object) -> list:
    source = Navigation(**settings).load()["test"].to("cpu", torch.float64)
    return Sampler.frozen(source, "test", 0).tasks(range(count))


def still(x: Tensor) -> Tensor:
    """Return the outputs of a policy that (nearly) does not move."""
    return torch.cat([torch.zeros_like(x), torch.full_like(x, -30)], -1)


def test_standing_still_costs_the_mean_distance_to_a_goal_in_the_square() -> None:
    """E‖g‖ in [−a, a]² is a·(√2 + asinh 1) / 3; the paper's policy before adaptation has −40."""
    several = together([task.query for task in tasks(2000, rollouts=1)])
    returns = [float(judged.scores["return"]) for judged in several.judge_all(still)]
    expected = -100 * 0.5 * (2**0.5 + np.arcsinh(1)) / 3
    assert expected == pytest.approx(-38.3, abs=0.05)
    assert np.mean(returns) == pytest.approx(expected, abs=4 * np.std(returns) / 2000**0.5)


def test_the_expert_arrives_after_as_many_steps_as_tenths_of_the_way() -> None:
    for task in tasks(10, rollouts=2):
        goal = task.query.laws

        def expert(x: Tensor, goal: Tensor = goal) -> Tensor:
            return torch.cat([10 * (goal - x), torch.full_like(x, -30)], -1)

        taken = task.query.act(expert)
        steps = int(np.ceil(float(goal.abs().max()) / 0.1 - 0.1))  # up to 0.01 from the goal
        assert taken.mask.sum(0).tolist() == [steps, steps]
        position, total = np.zeros(2), 0.0
        for _ in range(steps):
            position += np.clip(goal[0].numpy() - position, -0.1, 0.1)
            total -= np.hypot(*(goal[0].numpy() - position))
        assert float(task.query.judge(expert).scores["return"]) == pytest.approx(total)


def test_the_corners_are_those_of_a_second_implementation() -> None:
    seen = set()
    for task in tasks(12, goals="corners", rollouts=3):
        goal, query = task.query.laws[0].numpy(), task.query
        towards = np.sign(goal) if task.number % 2 else np.array([1.0, -0.4])
        outputs = torch.from_numpy(np.append(towards, [-1.0, -1.0]))
        taken = query.act(lambda x, outputs=outputs: outputs.expand(len(x), 4))
        assert (taken.observations[0].abs() <= 0.2).all()
        assert taken.mask.all()
        points, actions = taken.observations.numpy(), taken.actions.numpy()
        for t, row in np.ndindex(99, 3):
            after = points[t, row] + np.clip(0.2 * actions[t, row], -0.2, 0.2)
            np.testing.assert_allclose(points[t + 1, row], after)
            far = np.abs(after).sum() >= 0.5
            distances = [np.hypot(*(after - corner)) for corner in CORNERS]
            nearest = np.allclose(CORNERS[int(np.argmin(distances))], goal)
            gained = np.hypot(*(points[t, row] - goal)) - np.hypot(*(after - goal))
            expected = gained if far and nearest else 0
            assert float(taken.rewards[t, row]) == pytest.approx(expected, abs=1e-9)
        seen.add(tuple(goal))
    assert seen == set(CORNERS)


def test_settings_are_part_of_the_protocol_and_the_splits_have_other_goals() -> None:
    assert Navigation().facts() == {"train": None, "val": None, "test": None}
    splits = Navigation().load()
    samplers = [Sampler.frozen(splits[split], split, 0) for split in ("val", "test")]
    assert len({sampler.sha256(4) for sampler in samplers}) == 2
    others = [Navigation(**{k: v}) for k, v in {"horizon": 9, "rollouts": 3, "discount": 1}.items()]
    hashes = {Sampler.frozen(n.load()["test"], "test", 0).sha256(4) for n in others}
    assert len(hashes | {samplers[1].sha256(4)}) == 4
