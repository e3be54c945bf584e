"""`metrics.jsonl`: one JSON object a line, the run's own record of how it went."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from metarun.files import write_whole

NAME = "metrics.jsonl"


def append(out: Path, step: int, split: str, values: dict[str, float]) -> None:
    """Add a line, and make sure that it outlasts what is written after it."""
    finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
    with (out / NAME).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"step": step, "split": split, **finite}) + "\n")
        file.flush()
        os.fsync(file.fileno())


def read(out: Path) -> list[dict[str, Any]]:
    """All lines; a last one that a crash cut short is left out."""
    lines = []
    if (out / NAME).exists():
        for text in (out / NAME).read_text("utf-8").splitlines():
            try:
                line = json.loads(text)
                lines.append({"step": line["step"], "split": line["split"], **line})
            except (ValueError, TypeError, KeyError):
                break
    return lines


def cut(out: Path, step: int, validated: int) -> None:
    """Drop what was recorded after the checkpoint that a run goes on from."""
    if not (out / NAME).exists():
        return
    reached = {"train": step, "val": validated}
    kept = [x for x in read(out) if x["step"] <= reached[x["split"]]]
    write_whole(out / NAME, "".join(json.dumps(x) + "\n" for x in kept))
