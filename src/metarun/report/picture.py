"""Draws a ranking as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from metarun.plots.figure import save
from metarun.report.ranking import FACTS, Ranking
from metarun.report.runs import Entry
from metarun.tasks.headline import Headline

MAX_LINES = 50  # more would be illegible
SEED_MEAN_COLOUR = "#d1495b"


def draw(ranking: Ranking, title: str, path: Path) -> Path | None:
    """Draw test figures with their 95 % intervals over episodes, the best on top.

    A setting that was tested under several seeds has one line: the mean over seeds with its
    interval over seeds, and a dot for each seed. Only the headline of the best run is drawn.

    Returns:
        The path of the picture, or `None` if no run has a test figure.
    """
    tested = [e for e in ranking.entries if e.test is not None]
    if not tested:
        return None
    headline = tested[0].headline
    tested = [e for e in tested if e.headline == headline]
    lines: dict[int, list[Entry]] = {}
    for entry in tested:
        group = ranking.seed_group(entry)
        lines.setdefault(id(group) if group else id(entry), []).append(entry)
    shown = sorted(lines.values(), key=lambda runs: tested.index(runs[0]))
    shown.sort(key=lambda runs: -headline.worth((ranking.seed_group(runs[0]) or runs[0]).test.mean))
    left_out, shown = len(shown[MAX_LINES:]), shown[:MAX_LINES]

    factor = headline.factor
    figure = Figure(figsize=(8, 1.3 + 0.27 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for y, runs in enumerate(shown):
        group = ranking.seed_group(runs[0])
        for entry in runs:
            mean, ci95 = entry.test
            bar = None if group else factor * (ci95 or 0)
            style = {"alpha": 0.55, "ms": 4} if group else {"ms": 5}
            axes.errorbar(factor * mean, y, xerr=bar, fmt="o", color="C0", capsize=2, **style)
        if group:
            mean, ci95 = (factor * (value or 0) for value in group.test)
            axes.errorbar(mean, y, xerr=ci95, fmt="D", ms=5, color=SEED_MEAN_COLOUR, capsize=3)
    names = [_label(ranking, runs) for runs in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    if headline.percent:  # an interval over two seeds can exceed 0 to 100 %
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -1), min(high, 101))
    axes.grid(alpha=0.3)
    axes.set_xlabel(_axis_title(ranking, headline, left_out), fontsize=8, parse_math=False)
    axes.set_title(f"{title}: {ranking.shared}", fontsize=10, parse_math=False)
    return save(figure, path)


def _label(ranking: Ranking, runs: list[Entry]) -> str:
    first = runs[0]
    keys = [k for k in ranking.varied if not (k == "seed" and ranking.seed_group(first))]
    words = [f"{key}={ranking.value(first, key)}" for key in keys]
    words += [getattr(first, fact) for fact in ranking.differing if fact in FACTS]
    text = "  ".join(words) or first.name
    return text if len(text) <= 70 else text[:69] + "…"


def _axis_title(ranking: Ranking, headline: Headline, left_out: int) -> str:
    title = f"test {headline.score}" + ", %" * headline.percent
    title += "" if headline.higher_is_better else ", lower is better"
    intervals = "95 % intervals over episodes"
    if ranking.groups:
        intervals += "; diamonds: mean over seeds with its 95 % interval, dots: each seed"
    more = f"; {left_out} more in the table" if left_out else ""
    return f"{title} ({intervals}{more})"
