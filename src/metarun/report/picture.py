"""The ranking as a picture."""

from __future__ import annotations

from pathlib import Path

from matplotlib.figure import Figure

from metarun.plots.figure import save
from metarun.report.ranking import FACTS, Ranking
from metarun.report.runs import Entry
from metarun.tasks.headline import Headline

MOST = 50  # lines that can be read
OVER_SEEDS = "#d1495b"


def draw(ranking: Ranking, title: str, path: Path) -> Path | None:
    """Draw test figures with their 95 % intervals over episodes, the best on top.

    Where settings were tested under several seeds, each has a line of its own with the seeds' mean
    and its interval over them, and a dot for each seed.

    Returns:
        The picture, or `None` where no run has a test figure of the first one's kind.
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
    shown = sorted(lines.values(), key=lambda own: tested.index(own[0]))
    shown.sort(key=lambda own: -headline.worth((ranking.seed_group(own[0]) or own[0]).test.mean))
    left_out, shown = len(shown[MOST:]), shown[:MOST]

    factor = headline.factor
    figure = Figure(figsize=(8, 1.3 + 0.27 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for y, own in enumerate(shown):
        group = ranking.seed_group(own[0])
        for entry in own:
            mean, ci95 = entry.test
            bar = None if group else factor * (ci95 or 0)
            look = {"alpha": 0.55, "ms": 4} if group else {"ms": 5}
            axes.errorbar(factor * mean, y, xerr=bar, fmt="o", color="C0", capsize=2, **look)
        if group:
            mean, ci95 = (factor * (value or 0) for value in group.test)
            axes.errorbar(mean, y, xerr=ci95, fmt="D", ms=5, color=OVER_SEEDS, capsize=3)
    names = [_name(ranking, own) for own in shown]
    axes.set_yticks(range(len(shown)), names, fontsize=8, parse_math=False)
    axes.set_ylim(len(shown) - 0.5, -0.5)
    if headline.percent:  # an interval over two seeds can be wider than what there is
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, -1), min(high, 101))
    axes.grid(alpha=0.3)
    axes.set_xlabel(_axis(ranking, headline, left_out), fontsize=8, parse_math=False)
    axes.set_title(f"{title}: {ranking.shared}", fontsize=10, parse_math=False)
    return save(figure, path)


def _name(ranking: Ranking, own: list[Entry]) -> str:
    keys = [k for k in ranking.varied if not (k == "seed" and ranking.seed_group(own[0]))]
    words = [f"{key}={ranking.value(own[0], key)}" for key in keys]
    words += [getattr(own[0], fact) for fact in ranking.differing if fact in FACTS]
    text = "  ".join(words) or own[0].name
    return text if len(text) <= 70 else text[:69] + "…"


def _axis(ranking: Ranking, headline: Headline, left_out: int) -> str:
    what = f"test {headline.score}" + ", %" * headline.percent
    what += "" if headline.higher_is_better else ", less is better"
    over = "95 % intervals over episodes"
    if ranking.groups:
        over += "; diamonds: mean over seeds with its 95 % interval, dots: each seed"
    more = f"; {left_out} more in the table" if left_out else ""
    return f"{what} ({over}{more})"
