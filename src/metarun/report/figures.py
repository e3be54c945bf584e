"""The published figures of all presets, and the stored files of the runs that tried to reach them.

`scripts/figures.py` writes the files: `docs/figures/*.json` in a checkout, `metarun/figures` in an
installed package.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from metarun.config.groups import files
from metarun.config.published import BATCH_NORMS
from metarun.tasks.headline import Headline

HOURS = "hours.json"  # expected hours of the presets; every other file is a run


@dataclass(frozen=True)
class Published:
    """A published figure of a preset.

    Attributes:
        experiment, cell: the preset, and its ways and shots, as in `5way_1shot`.
        batch_norm: `transductive`, `inductive` or `unstated`.
        headline: of the score that is published.
        figure: `mean` and, if known, `ci95`; fractions in place of percentages.
        reruns: such figures of independent re-runs, by source.
        runs: stored files of runs of this setting.
        hours: how long a run is expected to take; `None` if unknown.
    """

    experiment: str
    cell: str
    batch_norm: str
    headline: Headline
    figure: dict[str, float]
    reruns: dict[str, dict[str, float]]
    runs: list[dict[str, Any]]
    hours: float | None

    @property
    def task(self) -> str:
        """The ways and shots, and the kind of batch normalisation if the source states it."""
        name = self.cell.replace("way_", "-way ").replace("shot", "-shot")
        return name if self.batch_norm == "unstated" else f"{name}, {self.batch_norm}"


def figures_dir() -> Path:
    """The folder of the stored files."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "figures"
    return installed if installed.is_dir() else package.parents[1] / "docs" / "figures"


def stored_runs(folder: Path) -> dict[str, dict[str, Any]]:
    """The content of the stored files of runs, by name and in its order."""
    paths = sorted(path for path in folder.glob("*.json") if path.name != HOURS)
    return {path.stem: json.loads(path.read_text("utf-8")) for path in paths}


def published_figures(folder: Path) -> list[Published]:
    """Every published figure of the shipped presets.

    Args:
        folder: with the stored files.
    """
    runs = [run for run in stored_runs(folder).values() if run["verify"]]
    hours_file = folder / HOURS
    hours = json.loads(hours_file.read_text("utf-8"))["hours"] if hours_file.is_file() else {}
    found = []
    for experiment, file in files("experiment").items():
        content = yaml.safe_load(file.read_text("utf-8")) if file is not None else {}
        published = content.get("published", {})
        headline = Headline.among({published.get("score", "accuracy")})
        for kind in BATCH_NORMS:
            for cell, figure in published.get(kind, {}).items():
                reruns = {
                    source: _stat(cells[cell], headline)
                    for source, cells in published.get("reruns", {}).items()
                    if cell in cells
                }
                own = [run for run in runs if _is_run_of(run["verify"], experiment, cell, kind)]
                expected = hours.get(experiment, {}).get(cell)
                stat = _stat(figure, headline)
                found.append(
                    Published(experiment, cell, kind, headline, stat, reruns, own, expected)
                )
    return found


def hours_of(run: Mapping[str, Any]) -> str:
    """The time of a stored run in hours: `1.6`, `0.1 (GPU)`."""
    hours = f"{run['verify']['seconds'] / 3600:.1f}"
    return hours if run["run"]["device"] == "cpu" else f"{hours} (GPU)"


def variant_of(run: Mapping[str, Any]) -> str:
    """What distinguishes a stored run from others of its preset: `, seed 1`, `, trainval`."""
    seed, classes = run["verify"]["seed"], trained_on(run)
    return f", seed {seed}" * bool(seed) + f", {classes}" * (classes != "train")


def trained_on(run: Mapping[str, Any]) -> str:
    """The classes that a stored run was trained on: `train` or `trainval`."""
    return run["protocol"].get("train_on", "train")


def _is_run_of(verdict: Mapping[str, Any], experiment: str, cell: str, kind: str) -> bool:
    same_cell = (verdict["experiment"], verdict["cell"]) == (experiment, cell)
    return same_cell and kind in ("unstated", verdict["protocol"]["batch_norm"])


def _stat(figure: list[float], headline: Headline) -> dict[str, float]:
    """A figure of a preset as fractions."""
    scaled = (value / headline.factor for value in figure)
    return dict(zip(("mean", "ci95"), scaled, strict=False))
