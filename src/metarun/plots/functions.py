"""Draws functions to minimise, and what an optimizer reaches on them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

from metarun.algorithms import Learner
from metarun.stats import interval
from metarun.tasks.optimizee import Optimizee, diverged
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task

MEAN_OF, SINGLE = 200, 8  # test functions in the mean, and with a line of their own
RADIUS = 3.0  # of a landscape around the starting point
COLOUR = "#7b2d8b"


def are_functions(task: Task) -> bool:
    """Whether the task is a function to minimise."""
    return isinstance(task.query, Optimizee)


def paths(learner: Learner, sampler: Sampler) -> Figure:
    """Draw the values after each step: their mean over test functions, and those of the first."""
    parts = [task.query for task in sampler.tasks(range(MEAN_OF))]
    models = learner.adapt_all(parts)
    path = torch.stack([model(part.start) for part, model in zip(parts, models, strict=True)])
    values = Optimizee.stack(parts).along(path)
    lost = diverged(values).squeeze(-1)
    values = values[~lost].double().cpu().numpy()
    figure = Figure(figsize=(9.6, 4.2), layout="constrained")
    if not len(values):
        figure.suptitle(f"all of the first {MEAN_OF} test functions diverge")
        return figure
    left, right = figure.subplots(1, 2, sharex=True)
    stats = [interval(values[:, k]) for k in range(values.shape[1])]
    mean, half = (np.array([stat[key] for stat in stats]) for key in ("mean", "ci95"))
    steps = np.arange(len(mean))
    left.plot(steps, mean, color=COLOUR, label=f"mean of {len(values)} test functions")
    left.fill_between(steps, mean - half, mean + half, color=COLOUR, alpha=0.2, lw=0, label="95 %")
    best = [sampler.source.best_possible(sampler.choose(i)) for i in range(MEAN_OF)]
    if best[0] and (least := np.mean([b["loss"] for b in best])) > 1e-6 * mean[-1]:
        left.axhline(least, color="0.1", lw=1, ls="--", label="least possible mean")
    left.legend(frameon=False, fontsize=8)
    right.plot(steps, values[:SINGLE].T, lw=0.9)
    right.set_title(f"the first {min(SINGLE, len(values))}", fontsize=9)
    for axes in (left, right):
        axes.set(xlabel="step", ylabel="value of the function", yscale="log")
        axes.grid(alpha=0.3)
    count = f"; {int(lost.sum())} of {MEAN_OF} diverge and are left out" if lost.any() else ""
    figure.suptitle(f"test functions, value after each step{count}", fontsize=10)
    return figure


def landscapes(tasks: Sequence[Task]) -> Figure:
    """Draw each function in the plane of its first two coordinates through its starting point."""
    figure = Figure(figsize=(3.6 * len(tasks), 3.7), layout="constrained")
    offsets = torch.linspace(-RADIUS, RADIUS, 81)
    for task, axes in zip(tasks, figure.subplots(1, len(tasks), squeeze=False)[0], strict=True):
        f, (a, b) = task.query, torch.meshgrid(offsets, offsets, indexing="xy")
        points = f.start.cpu().repeat(a.numel(), 1)
        points[:, 0] += a.flatten()
        points[:, 1] += b.flatten()
        values = f.along(points.to(f.start)).view(a.shape).double().cpu().numpy()
        x, y = (offsets + f.start[k].cpu() for k in (0, 1))
        levels = np.geomspace(max(values.min(), 1e-9), values.max(), 25)
        axes.contour(x, y, values, levels=np.unique(levels), linewidths=0.7)
        axes.plot(*f.start[:2].cpu(), "o", color=COLOUR, ms=5)
        axes.set_title(f"task {task.number}: {len(f.start)} numbers", fontsize=9)
        axes.set(xlabel="first coordinate", ylabel="second coordinate")
        axes.label_outer()
    return figure
