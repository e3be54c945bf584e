"""Creates complete run folders: results, episodes, curves and a picture."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.report.test_comparison import finished


def png(width: int = 60, height: int = 40, seed: int = 0) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def learned(
    folder: Path, seed: int = 0, algo: str = "protonet", score: str = "accuracy", **protocol: Any
) -> Path:
    """Create a finished run; its command sets algorithm and seed."""
    _, result = finished(folder, seed, score, **protocol)
    command = f"metarun algo={algo} seed={seed}"
    mean = result["test"][score]["mean"]
    result["run"] = {
        "algo": algo,
        "seed": seed,
        "steps": 40,
        "steps_done": 40,
        "wall_seconds": 10.0 + seed,
        "command": command,
        "versions": {"metarun": "1.2.3"},
    }
    result["val"] = {"best_step": 40, score: {"mean": mean, "ci95": 0.02}}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "metrics.jsonl").write_text(curve(score))
    (folder / "config.yaml").write_text(f"seed: {seed}\nchoices:\n  algo: {algo}\n")
    (folder / "run.log").touch()
    (folder / "episodes.png").write_bytes(png(seed=seed))
    return folder


def curve(score: str = "accuracy", steps: int = 40) -> str:
    lines = []
    for step in range(1, steps + 1):
        values = {"loss": 2 / step, score: 1 - 1 / (step + 1)}
        values |= (
            {score: 2 / step} if score == "mse" else {}
        )  # for regression, the loss is the score
        lines.append({"step": step, "split": "train", **values})
        if step % 10 == 0:
            lines.append({"step": step, "split": "val", **values, "ci95": 0.02})
    return "".join(json.dumps(line) + "\n" for line in lines)


def of_status(folder: Path, status: str, **more: Any) -> Path:
    """Create a run of another status."""
    folder.mkdir(parents=True)
    run = {"algo": "maml", "seed": 0, "steps": 40, "steps_done": 20, "command": "metarun algo=maml"}
    result = {"status": status, "run": run, **more}
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "run.log").touch()
    return folder
