"""Pictures of a run: its curves, and test episodes as the learner saw and labelled them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from metarun import metrics
from metarun.algorithms import Algorithm
from metarun.episodes import Sampler
from metarun.files import write_whole

RIGHT, WRONG = "#2a9d5c", "#d1495b"


def curves(out: Path, config: Mapping[str, Any]) -> Path:
    """Draw loss and accuracy (or squared error) over the steps of `metrics.jsonl`."""
    choices = config["choices"]
    labels = {
        "train": "training, {train_ways}-way {train_shots}-shot".format(**config),
        "val": "validation, {ways}-way {shots}-shot".format(**config),
    }
    lines = metrics.read(out)
    second = "mse" if any("mse" in line for line in lines) else "accuracy"
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    figure.suptitle(f"{choices['algo']} on {choices['data']}")
    for axes, name in zip(figure.subplots(1, 2), ("loss", second), strict=True):
        for split, style in (("train", {"alpha": 0.7}), ("val", {"marker": "o", "ms": 3})):
            mine = [x for x in lines if x["split"] == split and x.get(name) is not None]
            steps = [x["step"] for x in mine]
            values = np.array([x[name] for x in mine], dtype=float)
            axes.plot(steps, values, label=labels[split], **style)
            if split == "val" and name == second and mine:
                ci = np.array([x["ci95"] or 0 for x in mine])
                axes.fill_between(steps, values - ci, values + ci, alpha=0.2, color="C1")
        axes.set_xlabel("outer step")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return _save(figure, out / "curves.png")


def episode(out: Path, learner: Algorithm, sampler: Sampler, number: int = 0) -> Path | None:
    """Draw a frozen episode: a row for each class, its support, then queries as labelled.

    Returns:
        The picture, or `None` where items are not pictures.
    """
    names = getattr(sampler.tasks, "names", None)
    batch = sampler.batch([number])
    if batch.support_x.dim() != 5 or names is None:
        return None
    labels = learner.predict(batch.support_x, batch.support_y, batch.query_x).argmax(-1)[0].cpu()
    pick = sampler.pick(number)
    ways, shots, queries = sampler.ways, min(sampler.shots, 5), min(sampler.queries, 10)
    rows = min(ways, 10)
    figure = Figure(figsize=(1.9 + 0.75 * (shots + queries), 0.95 * rows + 0.9))
    grid = figure.subplots(rows, shots + queries, squeeze=False)
    support = batch.support_x[0].unflatten(0, (ways, -1)).cpu()
    query = batch.query_x[0].unflatten(0, (ways, -1)).cpu()
    predicted = labels.unflatten(0, (ways, -1))
    for row in range(rows):
        for k in range(shots):
            _image(grid[row][k], support[row, k], "0.6", "")
        for q in range(queries):
            given = int(predicted[row, q])
            colour = RIGHT if given == row else WRONG
            _image(
                grid[row][shots + q], query[row, q], colour, "" if given == row else f"as {given}"
            )
        name = str(names[pick.classes[row]])
        grid[row][0].set_ylabel(
            f"{row}  {_short(name)}", rotation=0, ha="right", va="center", fontsize=8
        )
    right = (labels == batch.query_y[0].cpu()).double().mean()
    figure.suptitle(
        f"test episode {number}: support (grey), queries labelled right (green) or wrong (red); "
        f"{100 * float(right):.0f} % of {len(labels)} right",
        fontsize=9,
        wrap=True,
    )
    figure.subplots_adjust(left=1.6 / figure.get_figwidth(), right=0.99, bottom=0.04, top=0.88)
    return _save(figure, out / "episodes.png")


def _image(axes: Any, pixels: Tensor, colour: str, text: str) -> None:
    shown = 1 - pixels[0] if len(pixels) == 1 else pixels.movedim(0, -1)  # ink is 1: draw it dark
    axes.imshow(shown.to(torch.float32).numpy(), cmap="gray", vmin=0, vmax=1)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(text, fontsize=7, color=colour, pad=2)
    for spine in axes.spines.values():
        spine.set(color=colour, linewidth=2)


def _short(name: str) -> str:
    return name if len(name) <= 22 else "…" + name[-21:]


def _save(figure: Figure, path: Path) -> Path:
    from io import BytesIO

    FigureCanvasAgg(figure)
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_whole(path, buffer.getvalue())
    return path
