"""Draws episodes without predictions: support and query items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
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
SIDE, COLUMN, ROW = 0.66, 0.73, 0.84  # inches of a picture, and from one to the next


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
    # Pictures have a fixed place below the title; a layout makes room for it.
    place = {} if figure.get_layout_engine() else {"y": 1 - 0.1 / figure.get_figheight()}
    figure.suptitle(title, fontsize=10, parse_math=False, wrap=True, **place)
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
    height = 0.35 + drawn_height(tasks)
    figure, axes = sheet(tasks, height * len(tasks), above=0.4)
    for t, task in enumerate(tasks):
        title = f"episode {task.number}: support (grey frames) and queries"
        axes.text(0, height * t + 0.25, title, fontsize=9)
        classes(axes, height * t + 0.35, task, class_names(sampler, task))
    return figure


def drawn_height(tasks: Sequence[Task]) -> float:
    """Inches that the classes of the largest task take."""
    return ROW * min(largest(tasks)[0], MAX_WAYS)


def sheet(tasks: Sequence[Task], height: float, above: float) -> tuple[Figure, Axes]:
    """A figure for the pictures of tasks.

    Args:
        height: inches of the pictures.
        above: inches for a title above them.

    Returns:
        The figure, and axes whose coordinates are inches from their upper left corner.
    """
    _, shots, queries = largest(tasks)
    width = COLUMN * (min(shots, MAX_SHOTS) + min(queries, MAX_QUERIES))
    size = max(LEFT + width + 0.1, 5.5), height + above + 0.1
    figure = Figure(figsize=size)
    place = (LEFT / size[0], 0.1 / size[1], width / size[0], height / size[1])
    axes = figure.add_axes(place, xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return figure, axes


def class_names(sampler: Sampler, task: Task) -> list[str]:
    """The names of the classes of a task, by label; empty if they have none."""
    names = getattr(getattr(sampler.source, "split", None), "names", None)
    if names is None or task.classes is None:
        return [""] * task.support.labels
    return [str(names[c]) for c in task.classes.tolist()]


def classes(
    axes: Axes, top: float, task: Task, names: Sequence[str], predicted: Tensor | None = None
) -> None:
    """Draw a row for each class: its name, its support and its queries.

    Args:
        axes: of a sheet; the first row begins at `top`. Items that do not fit are left out.
        task: a task of pictures with values between 0 and 1.
        names: of the classes, by label.
        predicted: (N·Q) predicted labels of the queries.
    """
    support, query = by_class(task.support), by_class(task.query)
    labels = by_class(task.query, task.query.y if predicted is None else predicted)
    shots = min(max(map(len, support)), MAX_SHOTS)
    for row, name in enumerate(names[:MAX_WAYS]):
        y = top + ROW * row + ROW - SIDE
        for k, picture in enumerate(support[row][:shots]):
            _image(axes, COLUMN * k, y, picture, GREY, "")
        for q, picture in enumerate(query[row][:MAX_QUERIES]):
            label = int(labels[row][q])
            colour = "1" if predicted is None else CORRECT if label == row else WRONG
            text = "" if label == row else f"as {label}"
            _image(axes, COLUMN * (shots + q), y, picture, colour, text)
        style = {"ha": "right", "va": "center", "fontsize": 8, "parse_math": False}  # $ in names
        axes.text(-0.1, y + SIDE / 2, f"{row}  {_short(name)}", **style)


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


def _image(axes: Axes, x: float, y: float, pixels: Tensor, colour: str, text: str) -> None:
    pixels = pixels.float().cpu()
    shown = pixels.movedim(0, -1) if len(pixels) == 3 else pixels.mean(0)
    height, width = (SIDE * n / max(shown.shape[:2]) for n in shown.shape[:2])
    x, y = x + (SIDE - width) / 2, y + (SIDE - height) / 2
    place = (x, x + width, y + height, y)
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1, extent=place, aspect="auto")
    style = {"fill": False, "edgecolor": colour, "linewidth": 2, "clip_on": False}
    axes.add_patch(Rectangle((x, y), width, height, **style))
    if text:
        style = {"ha": "center", "va": "bottom", "fontsize": 7}
        axes.text(x + width / 2, y - 0.03, text, color=colour, **style)


def _short(name: str) -> str:
    name = " ".join(name.split())
    return name if len(name) <= MAX_NAME else "…" + name[1 - MAX_NAME :]
