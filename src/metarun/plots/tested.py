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

from metarun.algorithms import Algorithm
from metarun.plots import episodes
from metarun.plots.episodes import POINT, RIGHT
from metarun.plots.figure import save
from metarun.runs.results import setting
from metarun.tasks.sampler import Episodes, Sampler


def draw_tested(out: Path, learner: Algorithm, sampler: Sampler) -> Path | None:
    """Draw frozen episodes in `episodes.png`: pictures with their labels, or curves.

    Returns:
        The picture, or `None` where items are neither pictures nor points of a known function.
    """
    known = hasattr(sampler.tasks, "truth")
    return adaptation(out, learner, sampler) if known else episode(out, learner, sampler)


def adaptation(
    out: Path, learner: Algorithm, sampler: Sampler, numbers: Sequence[int] = range(4)
) -> Path:
    """Draw what a learner predicts after 0, 1, … 10 inner steps on frozen regression tasks.

    A learner without `test_inner_steps` has one curve a task (after Finn et al. 2017, figure 2).
    """
    low, high = sampler.tasks.domain
    x = np.linspace(low, high, 201)[:, None]
    batch, grid = sampler.batch(numbers), torch.from_numpy(x).to(sampler.device, sampler.dtype)
    found = _after_each_step(learner, batch, grid.expand(len(batch), *grid.shape))
    columns = min(len(batch), 2)
    rows = -(-len(batch) // columns)
    figure = Figure(figsize=(5.6 * columns, 3.1 * rows + 0.7), layout="constrained")
    figure.suptitle(
        f"test tasks, {setting(sampler.ways, sampler.shots)}, before and after adapting"
    )
    panels = figure.subplots(rows, columns, squeeze=False, sharex=True).flatten()
    for t, (number, axes) in enumerate(zip(numbers, panels, strict=False)):
        pick = sampler.pick(number)
        axes.plot(x, sampler.tasks.truth(pick, x), color="0.1", lw=2, label="true function")
        for i, (name, curves_of_step) in enumerate(found.items()):
            axes.plot(x, curves_of_step[t], label=name, **_stroke(i, len(found)))
        points = (batch.support_x[t].cpu(), batch.support_y[t].cpu())
        axes.plot(*points, "^", color=POINT, ms=7, mec="white", label="support", zorder=3)
        axes.set_title(f"test task {number}", fontsize=9)
        axes.grid(alpha=0.3)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=8)
    return save(figure, out / "episodes.png")


def _after_each_step(learner: Algorithm, batch: Episodes, x: Tensor) -> dict[str, np.ndarray]:
    """Predictions at x, (T, points, 1), by the number of inner steps they come after."""
    own = getattr(learner, "test_inner_steps", None)
    found = {}
    try:
        for steps in [None] if own is None else sorted({*range(11), own}):
            if steps is not None:
                learner.test_inner_steps = steps
            torch.manual_seed(0)  # as in evaluation
            outputs = learner.predict(batch.support_x, batch.support_y, x).double().cpu().numpy()
            name = "adapted" if steps is None else f"{steps} step" + "s" * (steps != 1)
            found[name] = outputs
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


def episode(out: Path, learner: Algorithm, sampler: Sampler, number: int = 0) -> Path | None:
    """Draw a frozen episode: a row for each class, its support, then queries as labelled.

    Returns:
        The picture, or `None` where items are not pictures.
    """
    batch = sampler.batch([number])
    if batch.support_x.dim() != 5 or not hasattr(sampler.tasks, "names"):
        return None
    labels = learner.predict(batch.support_x, batch.support_y, batch.query_x).argmax(-1)[0].cpu()
    shots, queries = min(sampler.shots, episodes.SHOTS), min(sampler.queries, episodes.QUERIES)
    rows = min(sampler.ways, episodes.WAYS)
    figure = Figure(figsize=(episodes.LEFT + 0.3 + 0.75 * (shots + queries), 0.95 * rows + 0.9))
    support, query, predicted = (
        x.unflatten(0, (sampler.ways, -1)) for x in (batch.support_x[0], batch.query_x[0], labels)
    )
    names = episodes.class_names(sampler, number)
    grid = figure.subplots(rows, shots + queries, squeeze=False)
    episodes.classes(grid, support, query, names, predicted)
    right = (labels == batch.query_y[0].cpu()).double().mean()
    figure.suptitle(
        f"test episode {number}: support (grey), queries labelled right (green) or wrong (red); "
        f"{100 * float(right):.0f} % of {len(labels)} right",
        fontsize=9,
        wrap=True,
    )
    figure.subplots_adjust(
        left=episodes.LEFT / figure.get_figwidth(), right=0.99, bottom=0.04, top=0.88
    )
    return save(figure, out / "episodes.png")
