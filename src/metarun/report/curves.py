"""Learning curves: the lines of `metrics.jsonl`, thinned to what a plot can show."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metarun.report.untrusted import is_own, number, own, whole
from metarun.runs.metrics import NAME, parsed
from metarun.tasks.headline import KNOWN, UNKNOWN, Headline

LARGEST = 2**24  # bytes: 100,000 lines
POINTS = 120  # most of a curve
Row = list[float | None]
Values = list[float | None]  # of a curve, point by point
Curves = dict[str, dict[str, Values]]  # by split and name


def read_curves(folder: Path, headline: Headline = UNKNOWN) -> Curves:
    """The curves of a run.

    Args:
        headline: the score that the run is judged by; by default any of those that are known.

    Returns:
        For `train` and `val`, where there are any: `step`, `loss`, the score and its `ci95`, as far
        as they are there, point by point; `None` where a number is missing. A long curve is of
        means over neighbours.
    """
    names = ["loss", *(known.score for known in ([headline] if headline else KNOWN)), "ci95"]
    found: dict[str, dict[int, Row]] = {"train": {}, "val": {}}
    for line in parsed((own(folder, NAME, LARGEST) or b"").splitlines()):
        step = whole(line["step"])
        if line["split"] in ("train", "val") and step is not None and step < 2**53:
            found[line["split"]][step] = [number(line.get(name)) for name in names]
    return {split: _thinned(points, names) for split, points in found.items() if points}


def left_out(folder: Path) -> str:
    """Why a run that has curves shows none, or nothing."""
    try:
        if not is_own(folder, NAME) or (folder / NAME).stat().st_size <= LARGEST:
            return ""
    except OSError:  # it has gone just now
        return ""
    return f"{NAME} is larger than {LARGEST // 2**20} MB: its curves are left out"


def reached(found: Curves) -> int:
    """The last step of the curves; of a thinned curve, a little less."""
    return int(max((curve["step"][-1] or 0 for curve in found.values()), default=0))


def _thinned(points: dict[int, Values], names: list[str]) -> dict[str, Values]:
    table = np.array([[step, *points[step]] for step in sorted(points)], float)  # `None`: nan
    bins = np.array_split(np.ma.masked_invalid(table), min(POINTS, len(table)))
    means = np.array([part.mean(0).filled(np.nan) for part in bins])
    columns = dict(zip([*names, "step"], np.roll(means, -1, 1).T, strict=True))
    kept = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    return {n: [float(f"{v:.5g}") if np.isfinite(v) else None for v in c] for n, c in kept.items()}
