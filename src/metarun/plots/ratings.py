"""Draws predicted against true numbers, such as ratings, of test tasks."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from metarun.algorithms import Learner
from metarun.plots.figure import save
from metarun.plots.sheet import CORRECT, POINT
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Examples, Task

TASKS = 4


def are_numbers(task: Task) -> bool:
    """Whether the targets of a task are one number for each item."""
    query = task.query
    return isinstance(query, Examples) and not query.labels and query.y[0].numel() == 1


def draw_ratings(out: Path, learner: Learner, sampler: Sampler) -> Path:
    """Draw `episodes.png`: for the first four test tasks, support and queries around the line on
    which the predictions of the adapted model equal the true numbers."""
    figure = Figure(figsize=(8.2, 7.6), layout="constrained")
    panels = figure.subplots(2, 2, sharex=True, sharey=True).flatten()
    for task, axes in zip(sampler.tasks(range(TASKS)), panels, strict=True):
        model = learner.adapt(task.support)
        parts = (("support", task.support, "^", POINT), ("query", task.query, "o", CORRECT))
        for name, part, mark, colour in parts:
            true, predicted = (values.flatten().cpu() for values in (part.y, model(part.x)))
            axes.plot(true, predicted, mark, color=colour, ms=6, mec="white", label=name, alpha=0.8)
        axes.axline((0, 0), slope=1, color="0.1", lw=1, ls="--", label="true = predicted")
        scores = task.query.judge(model).scores
        shown = [f"{name} {float(value):.2f}" for name, value in scores.items() if name != "loss"]
        counts = f"{len(task.support)} support, {len(task.query)} query"
        axes.set_title(f"test task {task.number}: {counts}\n{', '.join(shown)}", fontsize=9)
        axes.grid(alpha=0.3)
    for axes in panels:
        axes.set(xlabel="true", ylabel="predicted")
        axes.label_outer()
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3, frameon=False, fontsize=8)
    figure.suptitle(f"{sampler.source.spec.objective.name} of test tasks, after adapting")
    return save(figure, out / "episodes.png")
