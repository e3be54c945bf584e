"""Draws a ranking as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path

from matplotlib.figure import Figure

from metarun.plots.figure import save
from metarun.report.entry import Entry
from metarun.report.labels import group_labels, run_labels
from metarun.report.ranking import Ranking
from metarun.report.seeds import SeedGroup
from metarun.tasks.headline import Headline

MAX_LINES = 50  # more would be illegible
MAX_NAME = 50  # characters of a label in a row
SEED_MEAN_COLOUR = "#d1495b"


def draw(ranking: Ranking, title: str, path: Path) -> Path | None:
    """Draw test figures with their 95 % intervals over episodes, in the order of the ranking.

    A setting that was tested under several seeds has one line: the mean over seeds with its
    interval over seeds, and a dot for each seed. Only the headline of the best run is drawn.

    Returns:
        The path of the picture, or `None` if no run has a test figure.
    """
    if not ranking.lines:
        return None
    headline = ranking.lines[0][1][0].headline
    lines = [line for line in ranking.lines if line[1][0].headline == headline]
    left_out, lines = len(lines[MAX_LINES:]), lines[:MAX_LINES]

    factor, names = headline.factor, _names(ranking, lines)
    height = 0.12 + 0.15 * max(name.count("\n") + 1 for name in names)  # inches of a line
    figure = Figure(figsize=(8, 1.3 + height * len(lines)), layout="constrained")
    axes = figure.subplots()
    for y, (group, runs) in enumerate(lines):
        for entry in runs:
            mean, ci95 = entry.test
            bar = None if group else factor * (ci95 or 0)
            style = {"alpha": 0.55, "ms": 4} if group else {"ms": 5}
            axes.errorbar(factor * mean, y, xerr=bar, fmt="o", color="C0", capsize=2, **style)
        if group:
            mean, ci95 = (factor * (value or 0) for value in group.test)
            axes.errorbar(mean, y, xerr=ci95, fmt="D", ms=5, color=SEED_MEAN_COLOUR, capsize=3)
    axes.set_yticks(range(len(lines)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(lines) - 0.5, -0.5)
    if headline.percent:  # an interval over two seeds can exceed 0 to 100 %
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -1), min(high, 101))
    axes.grid(alpha=0.3)
    axes.set_xlabel(_axis_title(ranking, headline, left_out), fontsize=8, parse_math=False)
    full_title = ": ".join(filter(None, [title, ranking.title]))
    axes.set_title(full_title, fontsize=10, parse_math=False, wrap=True)
    return save(figure, path)


def _names(ranking: Ranking, lines: Sequence[tuple[SeedGroup | None, list[Entry]]]) -> list[str]:
    """The label of each line, of at most `MAX_NAME` characters in a row."""
    of_groups = dict(zip(map(id, ranking.groups), group_labels(ranking), strict=True))
    of_runs = dict(zip(map(id, ranking.entries), run_labels(ranking), strict=True))
    texts = [of_groups[id(group)] if group else of_runs[id(runs[0])] for group, runs in lines]
    return [textwrap.fill(text, MAX_NAME) for text in texts]


def _axis_title(ranking: Ranking, headline: Headline, left_out: int) -> str:
    title = f"test {headline.score}" + ", %" * headline.percent
    title += "" if headline.higher_is_better else ", lower is better"
    intervals = "95 % intervals over episodes"
    if ranking.groups:
        intervals += "; diamonds: mean over seeds with its 95 % interval, dots: each seed"
    more = f"; {left_out} more in the table" if left_out else ""
    return f"{title} ({intervals}{more})"
