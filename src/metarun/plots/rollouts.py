"""Draws what policies do in environments, before and after each inner step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from matplotlib import colormaps
from matplotlib.figure import Figure

from metarun.algorithms import Learner
from metarun.tasks.environment import Environment
from metarun.tasks.rollouts import CATEGORICAL, Rollouts
from metarun.tasks.task import Task

GOAL = "#7b2d8b"
PATHS = 5  # rollouts drawn after each number of inner steps


def are_environments(task: Task) -> bool:
    """Whether a policy acts in this task."""
    return isinstance(task.query, Environment)


@torch.no_grad()
def rollouts(tasks: Sequence[Task], learner: Learner | None = None) -> Figure:
    """Draw a panel for each task: paths in the plane, pulled arms, or rewards over time.

    Args:
        learner: adapts to the support; `None` for a policy whose outputs are all 0.
    """
    figure = Figure(figsize=(8.6, 4.1 * -(-len(tasks) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(tasks) // 2), 2, squeeze=False).flatten()
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    for task, axes in zip(tasks, panels, strict=False):
        query = task.query
        if learner is None:
            query.act(lambda x, query=query: x.new_zeros(len(x), query.outputs))
        else:
            query.act(learner.adapt(task.support))
        taken = [*task.support.taken, query.taken[-1]]
        _draw(axes, query, taken)
        totals = ", ".join(f"{float(r.rewards.sum(0).mean()):.1f}" for r in taken)
        after = f" after 0 … {len(taken) - 1} steps" if len(taken) > 1 else ""
        axes.set_title(f"task {task.number}: return{after}: {totals}", fontsize=9)
    handles, names = panels[0].get_legend_handles_labels()
    if handles:
        figure.legend(
            handles, names, loc="outside lower center", ncols=len(names), frameon=False, fontsize=8
        )
    return figure


def _draw(axes: Any, query: Environment, taken: Sequence[Rollouts]) -> None:
    if query.policy is CATEGORICAL:
        return _arms(axes, query, taken[-1])
    in_plane = query.inputs == (2,)
    for k, done in enumerate(taken):
        colour = colormaps["viridis_r"](0.15 + 0.85 * k / max(len(taken) - 1, 1))
        name = f"{k} step" + "s" * (k != 1) if len(taken) > 1 else "policy"
        if in_plane:
            for row in range(min(PATHS, query.rollouts)):
                path = done.observations[done.mask[:, row] > 0, row].cpu()
                axes.plot(*path.T, color=colour, lw=1, label=name if row == 0 else None)
        else:
            axes.plot(done.rewards.mean(1).cpu(), color=colour, label=name)
    if in_plane:
        goal = query.laws[0].cpu()
        axes.plot(*goal[:, None], "*", ms=14, color=GOAL, mec="white", label="goal", zorder=3)
        axes.set_aspect("equal", "datalim")
    else:
        axes.set(xlabel="time step", ylabel="mean reward")
    axes.grid(alpha=0.3)
    return None


def _arms(axes: Any, query: Environment, done: Rollouts) -> None:
    """Draw how probable each arm is in each pull, a mean over the rollouts."""
    order = query.laws[0].argsort(descending=True).cpu()
    probable = done.outputs.softmax(-1).mean(1).cpu()[:, order].T
    axes.imshow(probable.numpy(), aspect="auto", cmap="viridis", vmin=0, vmax=1)
    axes.set_yticks(range(len(order)), [f"{p:.2f}" for p in query.laws[0].cpu()[order]])
    axes.set(xlabel="pull; a bright arm is probable", ylabel="probability of a reward")
