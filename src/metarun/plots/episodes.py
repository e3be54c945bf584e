"""Pictures of episodes, as data: what a learner is shown, before any has answered."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from metarun.plots.figure import save
from metarun.runs.results import setting
from metarun.tasks.sampler import Episodes, Sampler

RIGHT, WRONG, POINT, SHOWN = "#2a9d5c", "#d1495b", "#7b2d8b", "0.6"
WAYS, SHOTS, QUERIES = 10, 5, 10  # most that are drawn of an episode
LEFT, LETTERS = 2.3, 34  # inches and letters for the name of a class


def draw_episodes(path: Path, title: str, sampler: Sampler, numbers: Sequence[int]) -> bool:
    """Draw episodes below each other: pictures by class, or points of a known function.

    Returns:
        whether there was something to draw; vectors are not.
    """
    batch = sampler.batch(numbers)
    if hasattr(sampler.tasks, "truth"):
        figure = _points(sampler, batch, numbers)
    elif batch.support_x.dim() == 5:
        figure = _pictures(sampler, batch, numbers)
    else:
        return False
    task = setting(sampler.ways, sampler.shots)
    figure.suptitle(f"{title}, {task}", fontsize=10, parse_math=False)
    save(figure, path)
    return True


def _pictures(sampler: Sampler, batch: Episodes, numbers: Sequence[int]) -> Figure:
    rows, columns = min(sampler.ways, WAYS), min(sampler.shots, SHOTS) + min(sampler.queries, SHOTS)
    height = 0.8 * rows + 0.35
    figure = Figure(figsize=(max(LEFT + 0.3 + 0.75 * columns, 5.5), height * len(batch) + 0.5))
    top = 1 - 0.4 / figure.get_figheight()
    bands = np.linspace(top, 0.1 / figure.get_figheight(), len(batch) + 1)
    for t, number in enumerate(numbers):
        support, query = (
            x[t].unflatten(0, (sampler.ways, -1)) for x in (batch.support_x, batch.query_x)
        )
        grid = figure.add_gridspec(
            rows,
            columns,
            left=LEFT / figure.get_figwidth(),
            right=0.99,
            top=bands[t] - 0.3 / figure.get_figheight(),
            bottom=bands[t + 1],
            hspace=0.1,
            wspace=0.1,
        ).subplots(squeeze=False)
        grid[0][0].annotate(
            f"episode {number}: support (grey frames) and queries",
            (0, 1),
            (-0.95 * LEFT * 72, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9,
        )
        classes(grid, support, query, class_names(sampler, number))
    return figure


def class_names(sampler: Sampler, number: int) -> list[str]:
    """What the classes of an episode are called, by label."""
    known, pick = getattr(sampler.tasks, "names", None), sampler.pick(number)
    if known is None or not hasattr(pick, "classes"):
        return [""] * sampler.ways
    return [str(known[c]) for c in pick.classes]


def classes(
    grid: Any,
    support: Tensor,
    query: Tensor,
    names: Sequence[str],
    predicted: Tensor | None = None,
) -> None:
    """A row for each class: its name, its support, its queries.

    Args:
        grid: rows of axes, one for each picture; as many classes, shots and queries as it has
            place for are drawn.
        support: (N, K, C, H, W), query: (N, Q, C, H, W), both between 0 and 1.
        predicted: (N, Q) labels that a learner gave.
    """
    shots = min(support.shape[1], SHOTS)
    for row, axes in enumerate(grid):
        for k in range(shots):
            _image(axes[k], support[row, k], SHOWN, "")
        for q in range(len(axes) - shots):
            given = row if predicted is None else int(predicted[row, q])
            colour = "1" if predicted is None else RIGHT if given == row else WRONG
            text = "" if given == row else f"as {given}"
            _image(axes[shots + q], query[row, q], colour, text)
        label = f"{row}  {_short(names[row])}"
        style = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 8}
        axes[0].set_ylabel(label, **style, parse_math=False)  # a folder may be called $x$


def _points(sampler: Sampler, batch: Episodes, numbers: Sequence[int]) -> Figure:
    low, high = sampler.tasks.domain
    x = np.linspace(low, high, 201)[:, None]
    figure = Figure(figsize=(6.5, 2.3 * len(batch) + 0.7), layout="constrained")
    panels = figure.subplots(len(batch), 1, squeeze=False, sharex=True)[:, 0]
    for t, (number, axes) in enumerate(zip(numbers, panels, strict=True)):
        truth = sampler.tasks.truth(sampler.pick(number), x)
        axes.plot(x, truth, color="0.1", lw=1, label="true function")
        for name, mark, colour in (("query", "o", SHOWN), ("support", "^", POINT)):
            at = (getattr(batch, f"{name}_{axis}")[t].flatten().cpu() for axis in "xy")
            axes.plot(*at, mark, color=colour, mec="white", ms=7, label=name)
        axes.set_title(f"episode {number}", fontsize=9)
        axes.grid(alpha=0.3)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=8)
    return figure


def _image(axes: Any, pixels: Tensor, colour: str, text: str) -> None:
    pixels = pixels.float().cpu()
    shown = pixels.movedim(0, -1) if len(pixels) == 3 else pixels.mean(0)
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(text, fontsize=7, color=colour, pad=2)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= LETTERS else "…" + name[1 - LETTERS :]
