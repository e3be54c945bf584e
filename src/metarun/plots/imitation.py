"""Draws demonstrations, and what a model that imitates them does."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure

from metarun.algorithms import Learner
from metarun.data.navigation2d_imitation import Imitated
from metarun.tasks.task import Task

GOAL, PATH = "#7b2d8b", "#2a9d5c"


def are_imitations(task: Task) -> bool:
    """Whether a model imitates an expert in this task."""
    return isinstance(task.query, Imitated)


@torch.no_grad()
def imitations(tasks: Sequence[Task], learner: Learner | None = None) -> Figure:
    """Draw a panel for each task: the positions of the demonstrations, and actions in the query.

    Args:
        learner: its actions and its path from the origin are drawn; `None`: the actions are those
            of the expert.
    """
    figure = Figure(figsize=(8.6, 4.1 * -(-len(tasks) // 2)), layout="constrained")
    panels = figure.subplots(-(-len(tasks) // 2), 2, squeeze=False).flatten()
    for axes in panels[len(tasks) :]:
        axes.set_axis_off()
    for task, axes in zip(tasks, panels, strict=False):
        query, actions, title = task.query, task.query.y, f"task {task.number}"
        if learner is not None:
            model = learner.adapt(task.support)
            done, actions = query.act(model), model(query.x)
            path = done.observations[done.mask[:, 0] > 0, 0].cpu()
            axes.plot(*path.T, color=PATH, lw=2, label="path of the model")
            title += f": return {float(done.rewards.sum()):.2f}"
        arrows = {"color": "0.5", "width": 0.004, "angles": "xy", "scale": 20}
        axes.quiver(*query.x.cpu().T, *actions.cpu().T, **arrows, label="actions")
        axes.plot(*task.support.x.cpu().T, "^", color="C1", mec="white", label="support")
        axes.plot(*query.goal[:, None].cpu(), "*", ms=14, color=GOAL, mec="white", label="goal")
        axes.set_title(title, fontsize=9)
        axes.set_aspect("equal", "datalim")
        axes.grid(alpha=0.3)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure
