"""Draws test episodes with the predictions of a learner."""

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
from metarun.plots import episodes, ratings, sheet
from metarun.plots.figure import save
from metarun.plots.functions import are_functions, paths
from metarun.plots.imitation import are_imitations, imitations
from metarun.plots.rollouts import are_environments, rollouts
from metarun.plots.sheet import CORRECT, POINT
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task


@torch.no_grad()
def draw_tested(out: Path, learner: Learner, sampler: Sampler) -> Path | None:
    """Draw `episodes.png`: queries with predicted labels, regression curves, predicted numbers, or
    what policies do.

    Returns:
        The path of the picture, or `None` if the items are classified, but are no pictures.
    """
    was_training = learner.training
    has_truth = hasattr(getattr(sampler.source, "split", None), "truth")
    learner.eval()
    try:
        if has_truth:
            return adaptation(out, learner, sampler)
        (first,) = sampler.tasks([0])
        if ratings.are_numbers(first):
            return ratings.draw_ratings(out, learner, sampler)
        if are_functions(first):
            return save(paths(learner, sampler), out / "episodes.png")
        if are_environments(first):
            figure = rollouts(sampler.tasks(range(4)), learner)
            return save(figure, out / "episodes.png")
        if are_imitations(first):
            figure = imitations(sampler.tasks(range(4)), learner)
            return save(figure, out / "episodes.png")
        return episode(out, learner, sampler)
    finally:
        learner.train(was_training)


def adaptation(out: Path, learner: Learner, sampler: Sampler) -> Path:
    """Draw predictions after 0 to 10 inner steps on the first four frozen regression tasks.

    The number of steps used in testing is always included. A learner without `test_inner_steps` has
    one curve per task. The layout follows Finn et al. (2017), figure 2.
    """
    split, tasks = sampler.source.split, sampler.tasks(range(4))
    x = np.linspace(*split.domain, 201)[:, None]
    support_x = tasks[0].support.x
    inputs = torch.from_numpy(x).to(support_x.device, support_x.dtype)
    predictions = _after_each_step(learner, tasks, inputs)
    columns = min(len(tasks), 2)
    rows = -(-len(tasks) // columns)
    figure = Figure(figsize=(5.6 * columns, 3.1 * rows + 0.7), layout="constrained")
    figure.suptitle(f"test tasks, {episodes.size_of(sampler)}, before and after adapting")
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for t, (task, axes) in enumerate(zip(tasks, panels, strict=False)):
        truth = split.truth(sampler.choose(task.number), x)
        axes.plot(x, truth, color="0.1", lw=2, label="true function")
        for i, (name, curves_of_step) in enumerate(predictions.items()):
            axes.plot(x, curves_of_step[t], label=name, **_line_style(i, len(predictions)))
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
    """Predictions (points, 1) of each task at x, by number of inner steps."""
    test_steps = getattr(learner, "test_inner_steps", None)
    predictions = {}
    try:
        for steps in [None] if test_steps is None else sorted({*range(11), test_steps}):
            if steps is not None:
                learner.test_inner_steps = steps
            name = "adapted" if steps is None else f"{steps} step" + "s" * (steps != 1)
            models = learner.adapt_all([task.support for task in tasks])
            predictions[name] = [model(x).double().cpu().numpy() for model in models]
    finally:
        if test_steps is not None:
            learner.test_inner_steps = test_steps
    return predictions


def _line_style(i: int, n: int) -> dict[str, Any]:
    """Colour and style of curve i of n: the first is dashed, later ones are darker."""
    shade = i / max(n - 1, 1)
    return {
        "color": colormaps["viridis_r"](0.15 + 0.85 * shade) if n > 1 else CORRECT,
        "ls": "--" if i == 0 and n > 1 else "-",
        "lw": 1.6 if i in (0, 1, n - 1) else 0.7,
    }


def episode(out: Path, learner: Learner, sampler: Sampler) -> Path | None:
    """Draw the first frozen episode: a row for each class with its support, then its queries.

    Returns:
        The path of the picture, or `None` if the items are not pictures.
    """
    (task,) = sampler.tasks([0])
    if not episodes.is_of_pictures(task):
        return None
    predicted = task.query.per_item(learner.adapt(task.support)(task.query.x)).argmax(-1)
    split = getattr(sampler.source, "split", None)
    task = episodes.as_pictures(task, split)
    figure, axes = sheet.sheet([task], sheet.drawn_height([task]), above=0.5)
    sheet.classes(axes, 0, task, episodes.class_names(sampler, task), predicted)
    accuracy = (predicted == task.query.y).double().mean()
    figure.suptitle(
        "test episode 0: support (grey), queries predicted correctly (green) or wrongly "
        f"(red); {100 * float(accuracy):.0f} % of {len(predicted)} correct"
        + "".join(f"; {caption}" for caption in episodes.caption_of(split)),
        fontsize=9,
        wrap=True,
    )
    return save(figure, out / "episodes.png")
