"""Draws episodes without predictions: support and query items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from metarun.plots.figure import save
from metarun.plots.functions import are_functions, landscapes
from metarun.plots.imitation import are_imitations, imitations
from metarun.plots.rollouts import are_environments, rollouts
from metarun.runs.results import setting
from metarun.tasks.gathered import Gathered
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Examples, Task

CORRECT, WRONG, POINT, GREY = "#2a9d5c", "#d1495b", "#7b2d8b", "0.6"
MAX_WAYS, MAX_SHOTS, MAX_QUERIES = 10, 5, 10  # drawn of an episode
LEFT, MAX_NAME = 2.3, 34  # inches (empty ones are cut off) and characters for the name of a class


def draw_episodes(path: Path, title: str, sampler: Sampler, numbers: Sequence[int]) -> bool:
    """Draw episodes: pictures by class, points of a known function, or what a policy does.

    Args:
        numbers: of the episodes in the sampler.

    Returns:
        `False` if the items are none of these.
    """
    split = getattr(sampler.source, "split", None)
    tasks = [as_pictures(task, split) for task in sampler.tasks(numbers)]
    if hasattr(split, "truth"):
        figure = _points(sampler, tasks)
    elif is_of_pictures(tasks[0]):
        figure = _pictures(sampler, tasks)
    elif are_functions(tasks[0]):
        figure = landscapes(tasks)
    elif are_environments(tasks[0]):
        figure = rollouts(tasks)
        title += ", random actions"
    elif are_imitations(tasks[0]):
        figure = imitations(tasks)
    else:
        return False
    title = ", ".join([title, size_of(sampler), *caption_of(split)])
    figure.suptitle(title, fontsize=10, parse_math=False, wrap=True)
    save(figure, path)
    return True


def is_of_pictures(task: Task) -> bool:
    """Whether the items of a task are pictures of labelled classes."""
    x = getattr(task.support, "x", None)
    return isinstance(x, Tensor) and x.dim() == 4 and task.support.labels > 0


def as_pictures(task: Task, split: Any) -> Task:
    """The task with its items as pictures, where a split of other items can draw them.

    An item of several clips is drawn as the first of them.
    """
    if not hasattr(split, "pictures"):
        return task
    parts = {"support": task.support, "query": task.query}
    drawn = {key: split.pictures(part.x[:: part.clips]) for key, part in parts.items()}
    return replace(task, **{key: replace(parts[key], x=x, clips=1) for key, x in drawn.items()})


def caption_of(split: Any) -> list[str]:
    """What the pictures of the split show, if it says so."""
    return [split.caption] if hasattr(split, "caption") else []


def size_of(sampler: Sampler) -> str:
    """`5-way 1-shot`, or `tasks` if the sampler does not fix these sizes."""
    source = sampler.source
    return setting(source.ways, source.shots) if isinstance(source, Gathered) else "tasks"


def by_class(examples: Examples, values: Tensor | None = None) -> list[Tensor]:
    """The items of each class, by label; or the rows of `values` (items, …) for these items."""
    values = examples.x if values is None else values
    return [values[examples.y == label] for label in range(examples.labels)]


def largest(tasks: Sequence[Task]) -> tuple[int, int, int]:
    """The maxima over tasks: ways, support items of a class, and query items of a class."""
    sizes = [
        [len(items) for items in by_class(part)]
        for task in tasks
        for part in (task.support, task.query)
    ]
    return max(map(len, sizes)), max(map(max, sizes[::2])), max(map(max, sizes[1::2]))


def _pictures(sampler: Sampler, tasks: Sequence[Task]) -> Figure:
    ways, shots, queries = largest(tasks)
    rows, columns = min(ways, MAX_WAYS), min(shots, MAX_SHOTS) + min(queries, MAX_QUERIES)
    height = 0.8 * rows + 0.35
    figure = Figure(figsize=(max(LEFT + 0.3 + 0.75 * columns, 5.5), height * len(tasks) + 0.5))
    top = 1 - 0.4 / figure.get_figheight()
    bands = np.linspace(top, 0.1 / figure.get_figheight(), len(tasks) + 1)
    for t, task in enumerate(tasks):
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
            f"episode {task.number}: support (grey frames) and queries",
            (0, 1),
            (0, 6),
            xycoords="axes fraction",
            textcoords="offset points",
            fontsize=9,
        )
        classes(grid, task, class_names(sampler, task))
    return figure


def class_names(sampler: Sampler, task: Task) -> list[str]:
    """The names of the classes of a task, by label; empty if they have none."""
    names = getattr(getattr(sampler.source, "split", None), "names", None)
    if names is None or task.classes is None:
        return [""] * task.support.labels
    return [str(names[c]) for c in task.classes.tolist()]


def classes(grid: Any, task: Task, names: Sequence[str], predicted: Tensor | None = None) -> None:
    """Draw a row for each class: its name, its support and its queries.

    Args:
        grid: rows of axes, one for each picture; items that do not fit are left out.
        task: a task of pictures with values between 0 and 1.
        names: of the classes, by label.
        predicted: (N·Q) predicted labels of the queries.
    """
    support, query = by_class(task.support), by_class(task.query)
    labels = by_class(task.query, task.query.y if predicted is None else predicted)
    shots = min(max(map(len, support)), MAX_SHOTS)
    for axes in (axes for row in grid for axes in row):
        axes.set_axis_off()  # some axes may stay empty
    for row, axes in enumerate(grid[: len(support)]):
        for k, picture in zip(range(shots), support[row], strict=False):
            _image(axes[k], picture, GREY, "")
        for q, picture in zip(range(len(axes) - shots), query[row], strict=False):
            label = int(labels[row][q])
            colour = "1" if predicted is None else CORRECT if label == row else WRONG
            _image(axes[shots + q], picture, colour, "" if label == row else f"as {label}")
        title = f"{row}  {_short(names[row])}"
        style = {"rotation": 0, "ha": "right", "va": "center", "fontsize": 8}
        axes[0].set_ylabel(title, **style, parse_math=False)  # class names may contain $


def _points(sampler: Sampler, tasks: Sequence[Task]) -> Figure:
    split = sampler.source.split
    x = np.linspace(*split.domain, 201)[:, None]
    figure = Figure(figsize=(6.5, 2.3 * len(tasks) + 0.7), layout="constrained")
    panels = figure.subplots(len(tasks), 1, squeeze=False, sharex=True)[:, 0]
    for task, axes in zip(tasks, panels, strict=True):
        truth = split.truth(sampler.choose(task.number), x)
        axes.plot(x, truth, color="0.1", lw=1, label="true function")
        for name, mark, colour in (("query", "o", GREY), ("support", "^", POINT)):
            points = (getattr(getattr(task, name), axis).flatten().cpu() for axis in "xy")
            axes.plot(*points, mark, color=colour, mec="white", ms=7, label=name)
        axes.set_title(f"episode {task.number}", fontsize=9)
        axes.grid(alpha=0.3)
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside right center", frameon=False, fontsize=8)
    return figure


def _image(axes: Any, pixels: Tensor, colour: str, text: str) -> None:
    pixels = pixels.float().cpu()
    shown = pixels.movedim(0, -1) if len(pixels) == 3 else pixels.mean(0)
    axes.set_axis_on()
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(text, fontsize=7, color=colour, pad=2)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= MAX_NAME else "…" + name[1 - MAX_NAME :]
