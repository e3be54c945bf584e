"""The half-cheetah beside gymnasium's environment."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from metarun.data import cheetah
from metarun.data.cheetah import CheetahDirection, CheetahVelocity
from metarun.errors import Refused
from metarun.tasks.environment import together
from metarun.tasks.sampler import Sampler

needs_mujoco = pytest.mark.skipif(
    find_spec("mujoco") is None or find_spec("gymnasium") is None,
    reason="MuJoCo or gymnasium is not installed",
)
SMALL = {"rollouts": 2, "horizon": 6}


def tasks(data: object, count: int) -> list:
    source = data.load()["test"].to("cpu", torch.float64)
    return Sampler.frozen(source, "test", 0).tasks(range(count))


def policy(x: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(x), 12, dtype=x.dtype)


@needs_mujoco
def test_both_directions_are_tasks_and_velocities_are_uniform() -> None:
    laws = [float(task.query.laws) for task in tasks(CheetahDirection(**SMALL), 40)]
    assert set(laws) == {-1.0, 1.0}
    assert 10 < laws.count(1.0) < 30
    laws = [float(task.query.laws) for task in tasks(CheetahVelocity(fastest=3.0), 400)]
    assert 0 < min(laws) < 0.1
    assert 2.9 < max(laws) < 3
    assert np.mean(laws) == pytest.approx(1.5, abs=0.2)


def test_without_mujoco_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    cheetah.model.cache_clear()
    monkeypatch.setattr(cheetah, "find_spec", lambda name: None)
    with pytest.raises(
        Refused, match=r"needs MuJoCo and gymnasium: pip install 'metarun\[robots\]'"
    ):
        CheetahDirection().load()


@needs_mujoco
def test_the_body_is_that_of_gymnasium(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import mujoco

    monkeypatch.chdir(tmp_path)  # MuJoCo writes a log
    folder = find_spec("gymnasium").submodule_search_locations[0]
    expected = mujoco.MjModel.from_xml_path(str(Path(folder, cheetah.MODEL)))
    for name in ("body_mass", "body_inertia", "dof_damping", "actuator_gear", "body_invweight0"):
        np.testing.assert_allclose(getattr(cheetah.model(), name), getattr(expected, name))
    assert expected.opt.timestep * cheetah.SUBSTEPS == pytest.approx(cheetah.TIME_STEP)


@needs_mujoco
@pytest.mark.parametrize("data", [CheetahDirection(**SMALL), CheetahVelocity(**SMALL)])
def test_rollouts_follow_the_simulation_and_the_stated_reward(data: object) -> None:
    import mujoco

    body = cheetah.model()
    for task in tasks(data, 3):
        law, taken = float(task.query.laws), task.query.act(policy)
        assert taken.mask.all()
        for row in range(2):
            state, first = mujoco.MjData(body), taken.observations[0, row].numpy()
            state.qpos[1:], state.qvel[:] = first[:8], first[8:]
            for t in range(6):
                torques, x = np.clip(taken.actions[t, row].numpy(), -1, 1), state.qpos[0]
                state.ctrl[:] = torques
                for _ in range(cheetah.SUBSTEPS):
                    mujoco.mj_step(body, state)
                v = (state.qpos[0] - x) / 0.05
                gained = law * v if isinstance(data, CheetahDirection) else -abs(v - law)
                expected = gained - 0.05 * (torques**2).sum()
                assert float(taken.rewards[t, row]) == pytest.approx(expected, abs=1e-6)
                if t < 5:
                    observed = taken.observations[t + 1, row].numpy()
                    np.testing.assert_allclose(observed[:8], state.qpos[1:], atol=1e-6)
                    np.testing.assert_allclose(observed[8:], state.qvel, atol=1e-6)


@needs_mujoco
def test_several_tasks_at_once_have_the_rollouts_of_each_alone() -> None:
    alone, several = (tasks(CheetahDirection(**SMALL), 2) for _ in range(2))
    together([task.query for task in several]).act(policy)
    for one, other in zip(several, alone, strict=True):
        torch.testing.assert_close(one.query.taken[0], other.query.act(policy))
