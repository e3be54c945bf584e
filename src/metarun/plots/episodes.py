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
from metarun.plots.sheet import GREY, POINT, classes, drawn_height, sheet
from metarun.runs.results import setting
from metarun.tasks.gathered import Gathered
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Task


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


def _pictures(sampler: Sampler, tasks: Sequence[Task]) -> Figure:
    height = 0.35 + drawn_height(tasks)
    figure, axes = sheet(tasks, height * len(tasks), above=0.4)
    for t, task in enumerate(tasks):
        title = f"episode {task.number}: support (grey frames) and queries"
        axes.text(0, height * t + 0.25, title, fontsize=9)
        classes(axes, height * t + 0.35, task, class_names(sampler, task))
    return figure


def class_names(sampler: Sampler, task: Task) -> list[str]:
    """The names of the classes of a task, by label; empty if they have none."""
    names = getattr(getattr(sampler.source, "split", None), "names", None)
    if names is None or task.classes is None:
        return [""] * task.support.labels
    return [str(names[c]) for c in task.classes.tolist()]


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
