"""Pictures of policies in environments, and of imitations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from metarun.algorithms.maml import MAML
from metarun.algorithms.rl2 import RL2
from metarun.backbones.identity import Identity
from metarun.backbones.mlp import MLP
from metarun.data.bandits import Bandits
from metarun.data.navigation2d import Navigation
from metarun.data.navigation2d_imitation import Imitation
from metarun.plots.imitation import are_imitations, imitations
from metarun.plots.rollouts import PATHS, are_environments, rollouts
from metarun.tasks.sampler import Sampler

pytestmark = pytest.mark.ink


def tasks(data: object, count: int = 3) -> list:
    return Sampler.frozen(data.load()["test"], "test", 0).tasks(range(count))


def maml(data: object) -> MAML:
    torch.manual_seed(0)
    net = MLP((2,), hidden=[8], batch_norm=False)
    return MAML(net, data.load()["test"].spec, inner_lr=0.1, test_inner_steps=2).eval()


def test_paths_after_each_inner_step_begin_at_the_origin() -> None:
    data = Navigation(rollouts=7, horizon=5)
    assert are_environments(tasks(data)[0])
    drawn, again = tasks(data), tasks(data)
    figure = rollouts(drawn, maml(data))
    for task, axes in zip(again, figure.axes[:3], strict=True):
        lines = axes.get_lines()
        assert len(lines) == 3 * PATHS + 1
        labels = [line.get_label() for line in lines if not line.get_label().startswith("_")]
        assert labels == ["0 steps", "1 step", "2 steps", "goal"]
        assert all(line.get_xydata()[0].tolist() == [0, 0] for line in lines[:-1])
        np.testing.assert_allclose(lines[-1].get_xydata()[0], task.query.laws[0])
        model = maml(data).adapt(task.support)
        returns = [r.rewards.sum(0).mean() for r in task.support.taken]
        returns.append(task.query.judge(model).scores["return"])
        shown = ", ".join(f"{float(r):.1f}" for r in returns)
        assert axes.get_title() == f"task {task.number}: return after 0 … 2 steps: {shown}"
    assert not figure.axes[3].axison


def test_the_probabilities_of_arms_are_shown_from_the_best_arm_down() -> None:
    data = Bandits(arms=3, pulls=4, rollouts=6)
    learner = RL2(Identity((4,)), data.load()["test"].spec, hidden=4).eval()
    figure = rollouts(tasks(data, 2), learner)
    for task, axes in zip(tasks(data, 2), figure.axes, strict=True):
        taken, p = task.query.act(learner.policy), task.query.laws[0]
        order = p.argsort(descending=True)
        expected = taken.outputs.detach().softmax(-1).mean(1)[:, order].T
        np.testing.assert_allclose(axes.images[0].get_array(), expected, rtol=1e-5)
        labels = [text.get_text() for text in axes.get_yticklabels()]
        assert labels == [f"{value:.2f}" for value in p[order].tolist()]


def test_imitations_show_the_demonstration_the_actions_and_the_path() -> None:
    data = Imitation()
    assert are_imitations(tasks(data)[0])
    for learner in (None, maml(data)):
        figure = imitations(tasks(data, 2), learner)
        for task, axes in zip(tasks(data, 2), figure.axes, strict=True):
            lines = {line.get_label(): line.get_xydata() for line in axes.get_lines()}
            np.testing.assert_allclose(lines["support"], task.support.x)
            np.testing.assert_allclose(lines["goal"][0], task.query.goal)
            assert ("path of the model" in lines) == (learner is not None)
            if learner is None:
                np.testing.assert_allclose(axes.collections[0].U, task.query.y[:, 0], rtol=1e-6)
