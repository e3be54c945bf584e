"""Creates small run folders without training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from metarun.report import ranking, runs
from metarun.report.ranking import Ranking
from metarun.training.display import console


def result(seed: int = 0, mean: float = 0.9, score: str = "accuracy", **more: Any) -> dict:
    """What a finished run writes, in short; `None` as a value leaves a key out."""
    stat = {score: {"mean": mean, "ci95": 0.01}}
    whole = {
        "status": "completed",
        "test": {**stat, "episodes": 100},
        "val": {"best_step": 5, **stat},
        "protocol": {"data": "glyphs", "ways": 5, "shots": 1, "batch_norm": "inductive"},
        "run": {
            "command": f"metarun algo=protonet seed={seed}",
            **{"algo": "protonet", "seed": seed, "steps": 10, "steps_done": 10},
            "wall_seconds": 61.2,
        },
    }
    return {key: value for key, value in {**whole, **more}.items() if value is not None}


def run(folder: Path, *, command: str = "", config: dict | None = None, **found: Any) -> Path:
    """A run's folder with its `result.json` and, where it is given, `config.yaml`."""
    folder.mkdir(parents=True)
    (folder / "run.log").touch()
    made = result(**found)
    if command:
        made["run"] = {**made["run"], "command": command}
    (folder / "result.json").write_text(json.dumps(made))
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def ranked(folder: Path) -> Ranking:
    """The runs in a folder, ranked."""
    return ranking.rank(runs.find([folder]))


def lines(table: object) -> list[str]:
    """What is printed of a table, a blank between words."""
    screen = console()
    with screen.capture() as capture:
        screen.print(table if table is not None else "none")
    return [" ".join(line.split()) for line in capture.get().splitlines() if line.strip()]
