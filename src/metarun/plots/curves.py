"""Plots the learning curves of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metarun.config.schema import RunConfig
from metarun.plots.figure import save
from metarun.runs import metrics, results
from metarun.runs.results import setting
from metarun.tasks.headline import UNKNOWN, Headline

COLOURS = {"train": "C0", "val": "C1"}
BEST_COLOUR, TEST_COLOUR = "#d1495b", "#2a9d5c"


def draw_curves(
    out: Path,
    config: RunConfig,
    best: Mapping[str, Any] | None = None,
    test: Mapping[str, Any] | None = None,
) -> Path:
    """Draw `curves.png`: the headline over outer steps, and the loss if it is another score.

    Args:
        best: the best validation, as `val` in `result.json`; its step is marked.
        test: the test scores, as in `result.json`; the headline is drawn as a line with its
            interval.
    """
    labels = {
        "train": f"training, {setting(config.train_ways, config.train_shots)}".removesuffix(", –"),
        "val": f"validation, {setting(config.ways, config.shots)}".removesuffix(", –"),
    }
    lines = metrics.read_metrics(out)
    headline = Headline.of(results.read_result(out) or {})
    headline = headline or Headline.among({name for line in lines for name in line})
    score = headline.score or "loss"
    loss_differs = any(x.get("loss", x[score]) != x[score] for x in lines if score in x)
    names = ["loss", score] if loss_differs else [score]
    figure = Figure(figsize=(5 * len(names), 4.1), layout="constrained")
    figure.suptitle(f"{config.choices.algo} on {config.data_name}", parse_math=False)
    panels = figure.subplots(1, len(names), squeeze=False)[0]
    for axes, name in zip(panels, names, strict=True):
        shown = headline if name == score else UNKNOWN
        for split, style in (("train", {"alpha": 0.7}), ("val", {"marker": "o", "ms": 3})):
            points = [x for x in lines if x["split"] == split and x.get(name) is not None]
            steps = [x["step"] for x in points]
            values = shown.factor * np.array([x[name] for x in points], dtype=float)
            if points:
                axes.plot(steps, values, label=labels[split], **style, color=COLOURS[split])
            if split == "val" and name == score and points:
                ci = shown.factor * np.array([x["ci95"] or 0 for x in points])
                axes.fill_between(
                    steps, values - ci, values + ci, alpha=0.2, color=COLOURS[split], lw=0
                )
                _before(axes, score, points)
        axes.set_xlabel("outer step")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_ylabel(f"{shown.name or name}, %" if shown.percent else shown.name or name)
        axes.grid(alpha=0.3)
    _mark(panels[-1], headline, best or {}, test or {})
    handles, texts = panels[-1].get_legend_handles_labels()
    figure.legend(handles, texts, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    return save(figure, out / "curves.png")


def _before(axes: Any, score: str, points: Sequence[Mapping[str, Any]]) -> None:
    """Draw the validation scores of policies after fewer inner steps, if they are known."""
    names = [name for name in points[0] if name.startswith(f"{score}_after_")]
    for k, name in enumerate(names):
        steps, values = [x["step"] for x in points], [x.get(name) for x in points]
        label = name.removeprefix(f"{score}_").replace("_", " ")
        shade = 0.8 - 0.6 * k / len(names)
        axes.plot(steps, values, color=str(shade), lw=1, ls="--", label=label)


def _mark(axes: Any, headline: Headline, best: Mapping[str, Any], test: Mapping[str, Any]) -> None:
    """Mark the validation of the tested checkpoint, and the test figure with its interval."""
    validated, tested = (scores.get(headline.score) for scores in (best, test))
    if validated:
        label = f"best checkpoint, step {best['best_step']}: {headline.figure(validated)}"
        point = (best["best_step"], headline.factor * validated["mean"])
        axes.plot(*point, "*", ms=13, color=BEST_COLOUR, mec="white", label=label, zorder=3)
    if tested:
        mean, ci = headline.factor * tested["mean"], headline.factor * (tested["ci95"] or 0)
        axes.axhspan(mean - ci, mean + ci, color=TEST_COLOUR, alpha=0.2, lw=0)
        label = f"test: {headline.figure(tested)}"
        axes.axhline(mean, color=TEST_COLOUR, lw=1.3, ls="--", label=label)
