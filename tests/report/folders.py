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
    """The result of a finished run, abridged; a value of `None` removes the key."""
    stat = {score: {"mean": mean, "ci95": 0.01}}
    whole = {
        "status": "completed",
        "test": {**stat, "episodes": 100},
        "val": {"best_step": 5, **stat},
        "protocol": {"data": "glyphs", "ways": 5, "shots": 1, "batch_norm": "inductive"},
        "run": {
            "command": f"metarun algo=protonet seed={seed}",
            "algo": "protonet",
            "seed": seed,
            "steps": 10,
            "steps_done": 10,
            "wall_seconds": 61.2,
        },
    }
    return {key: value for key, value in {**whole, **more}.items() if value is not None}


def run(folder: Path, *, command: str = "", config: dict | None = None, **values: Any) -> Path:
    """Create a run folder with `result.json` and, if given, `config.yaml`."""
    folder.mkdir(parents=True)
    (folder / "run.log").touch()
    content = result(**values)
    if command:
        content["run"] = {**content["run"], "command": command}
    (folder / "result.json").write_text(json.dumps(content))
    if config is not None:
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def ranked(folder: Path) -> Ranking:
    """The ranking of the runs in a folder."""
    return ranking.rank(runs.find([folder]))


def lines(table: object) -> list[str]:
    """The printed lines of a table, with single spaces."""
    screen = console()
    with screen.capture() as capture:
        screen.print(table if table is not None else "none")
    return [" ".join(line.split()) for line in capture.get().splitlines() if line.strip()]
