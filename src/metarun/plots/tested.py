"""Test episodes as the learner saw and answered them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from torch import Tensor

from metarun.algorithms import Learner
from metarun.plots import episodes
from metarun.plots.episodes import POINT, RIGHT
from metarun.plots.figure import save
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task


@torch.no_grad()
def draw_tested(out: Path, learner: Learner, sampler: Sampler) -> Path | None:
    """Draw frozen episodes in `episodes.png`: pictures with their labels, or curves.

    Returns:
        The picture, or `None` where items are neither pictures nor points of a known function.
    """
    training, known = learner.training, hasattr(getattr(sampler.source, "split", None), "truth")
    learner.eval()
    try:
        return adaptation(out, learner, sampler) if known else episode(out, learner, sampler)
    finally:
        learner.train(training)


def adaptation(
    out: Path, learner: Learner, sampler: Sampler, numbers: Sequence[int] = range(4)
) -> Path:
    """Draw what a learner predicts after 0, 1, … 10 inner steps on frozen regression tasks.

    A learner without `test_inner_steps` has one curve a task (after Finn et al. 2017, figure 2).
    """
    split, tasks = sampler.source.split, sampler.tasks(numbers)
    x = np.linspace(*split.domain, 201)[:, None]
    like = tasks[0].support.x
    found = _after_each_step(learner, tasks, torch.from_numpy(x).to(like.device, like.dtype))
    columns = min(len(tasks), 2)
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(5.6 * columns, 3.1 * rows + 0.7), layout="constrained")
    figure.suptitle(f"test tasks, {episodes.size_of(sampler)}, before and after adapting")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for t, (task, axes) in enumerate(zip(tasks, panels, strict=False)):
        truth = split.truth(sampler.choose(task.number), x)
        axes.plot(x, truth, color="0.1", lw=2, label="true function")
        for i, (name, curves_of_step) in enumerate(found.items()):
            axes.plot(x, curves_of_step[t], label=name, **_stroke(i, len(found)))
        points = (task.support.x.cpu(), task.support.y.cpu())
        axes.plot(*points, "^", color=POINT, ms=7, mec="white", label="support", zorder=3)
        axes.set_title(f"test task {task.number}", fontsize=9)
        axes.grid(alpha=0.3)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=8)
    return save(figure, out / "episodes.png")


def _after_each_step(
    learner: Learner, tasks: Sequence[Task], x: Tensor
) -> dict[str, list[np.ndarray]]:
    """Predictions at x, (points, 1) for each task, by the number of inner steps before them."""
    own = getattr(learner, "test_inner_steps", None)
    found = {}
    try:
        for steps in [None] if own is None else sorted({*range(11), own}):
            if steps is not None:
                learner.test_inner_steps = steps
            name = "adapted" if steps is None else f"{steps} step" + "s" * (steps != 1)
            models = learner.adapt_all([task.support for task in tasks])
            found[name] = [model(x).double().cpu().numpy() for model in models]
    finally:
        if own is not None:
            learner.test_inner_steps = own
    return found


def _stroke(i: int, n: int) -> dict[str, Any]:
    """Colour and style of curve i of n: dashed at the start, darker with each step."""
    shade = i / max(n - 1, 1)
    return {
        "color": colormaps["viridis_r"](0.15 + 0.85 * shade) if n > 1 else RIGHT,
        "ls": "--" if i == 0 and n > 1 else "-",
        "lw": 1.6 if i in (0, 1, n - 1) else 0.7,
    }


def episode(out: Path, learner: Learner, sampler: Sampler, number: int = 0) -> Path | None:
    """Draw a frozen episode: a row for each class, its support, then queries as labelled.

    Returns:
        The picture, or `None` where items are not pictures.
    """
    (task,) = sampler.tasks([number])
    if not episodes.is_of_pictures(task):
        return None
    predicted = learner.adapt(task.support)(task.query.x).argmax(-1)
    ways, shots, queries = episodes.largest([task])
    rows, shots = min(ways, episodes.WAYS), min(shots, episodes.SHOTS)
    queries = min(queries, episodes.QUERIES)
    figure = Figure(figsize=(episodes.LEFT + 0.3 + 0.75 * (shots + queries), 0.95 * rows + 0.9))
    grid = figure.subplots(rows, shots + queries, squeeze=False)
    episodes.classes(grid, task, episodes.class_names(sampler, task), predicted)
    right = (predicted == task.query.y).double().mean()
    figure.suptitle(
        f"test episode {number}: support (grey), queries labelled right (green) or wrong (red); "
        f"{100 * float(right):.0f} % of {len(predicted)} right",
        fontsize=9,
        wrap=True,
    )
    figure.subplots_adjust(
        left=episodes.LEFT / figure.get_figwidth(), right=0.99, bottom=0.04, top=0.88
    )
    return save(figure, out / "episodes.png")
