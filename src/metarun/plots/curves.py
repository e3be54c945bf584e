"""Plots the learning curves of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from metarun.config.schema import RunConfig
from metarun.plots.figure import save
from metarun.runs import metrics, results
from metarun.runs.results import setting
from metarun.tasks.headline import Headline


def draw_curves(out: Path, config: RunConfig) -> Path:
    """Draw `curves.png`: the headline over outer steps, and the loss if it is another score."""
    labels = {
        "train": f"training, {setting(config.train_ways, config.train_shots)}",
        "val": f"validation, {setting(config.ways, config.shots)}",
    }
    lines = metrics.read_metrics(out)
    headline = Headline.of(results.read_result(out) or {})
    headline = headline or Headline.among({name for line in lines for name in line})
    score = headline.score or "loss"
    loss_differs = any(x.get("loss", x[score]) != x[score] for x in lines if score in x)
    names = ["loss", score] if loss_differs else [score]
    figure = Figure(figsize=(5 * len(names), 3.8), layout="constrained")
    figure.suptitle(f"{config.choices.algo} on {config.data_name}")
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for split, style in (("train", {"alpha": 0.7}), ("val", {"marker": "o", "ms": 3})):
            points = [x for x in lines if x["split"] == split and x.get(name) is not None]
            steps = [x["step"] for x in points]
            values = np.array([x[name] for x in points], dtype=float)
            axes.plot(steps, values, label=labels[split], **style)
            if split == "val" and name == names[-1] and points:
                ci = np.array([x["ci95"] or 0 for x in points])
                axes.fill_between(steps, values - ci, values + ci, alpha=0.2, color="C1")
        axes.set_xlabel("outer step")
        axes.set_ylabel(name)
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return save(figure, out / "curves.png")
