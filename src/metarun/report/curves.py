"""Learning curves: the lines of `metrics.jsonl`, downsampled for a plot."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from metarun.report.untrusted import is_own, number, read_own, whole
from metarun.runs.metrics import NAME, parsed
from metarun.tasks.headline import KNOWN, UNKNOWN, Headline

MAX_BYTES = 2**24  # about 100,000 lines
MAX_POINTS = 120  # of a curve
Values = list[float | None]
Curves = dict[str, dict[str, Values]]  # split → name → the value at each point


def read_curves(folder: Path, headline: Headline = UNKNOWN) -> Curves:
    """The curves of a run.

    Args:
        headline: the score that the run is judged by; by default, every known headline.

    Returns:
        For each of `train` and `val` that has lines: `step`, `loss`, the score and its `ci95`, each
        if it occurs; `None` for a missing number. Each point of a long curve is the mean of
        neighbouring ones.
    """
    names = ["loss", *(known.score for known in ([headline] if headline else KNOWN)), "ci95"]
    points: dict[str, dict[int, Values]] = {"train": {}, "val": {}}
    for line in parsed((read_own(folder, NAME, MAX_BYTES) or b"").splitlines()):
        step = whole(line["step"])
        if line["split"] in ("train", "val") and step is not None and step < 2**53:
            points[line["split"]][step] = [number(line.get(name)) for name in names]
    return {split: _downsample(rows, names) for split, rows in points.items() if rows}


def left_out(folder: Path) -> str:
    """Why the curves of a run are left out; empty if they are not."""
    try:
        if not is_own(folder, NAME) or (folder / NAME).stat().st_size <= MAX_BYTES:
            return ""
    except OSError:  # deleted in the meantime
        return ""
    return f"{NAME} is larger than {MAX_BYTES // 2**20} MB: its curves are left out"


def reached(curves: Curves) -> int:
    """The last step of the curves; slightly less if they were downsampled."""
    return int(max((curve["step"][-1] or 0 for curve in curves.values()), default=0))


def _downsample(rows: dict[int, Values], names: list[str]) -> dict[str, Values]:
    table = np.array([[step, *rows[step]] for step in sorted(rows)], float)  # `None` becomes nan
    bins = np.array_split(np.ma.masked_invalid(table), min(MAX_POINTS, len(table)))
    means = np.array([part.mean(0).filled(np.nan) for part in bins])
    columns = dict(zip([*names, "step"], np.roll(means, -1, 1).T, strict=True))
    finite = {name: column for name, column in columns.items() if np.isfinite(column).any()}
    return {
        name: [float(f"{v:.5g}") if np.isfinite(v) else None for v in column]
        for name, column in finite.items()
    }
