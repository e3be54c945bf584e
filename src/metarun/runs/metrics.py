"""`metrics.jsonl`: one JSON object a line, the run's own record of how it went.

A checkpoint holds how many lines there were when it was saved, and a digest of them, so that a run
which goes on from it keeps exactly those.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Protocol, TypedDict

from metarun.files import read_whole, sync_folder, write_whole

NAME = "metrics.jsonl"

log = logging.getLogger(__name__)


class Record(TypedDict):
    """How many lines there are, and the digest that chains them."""

    lines: int
    sha256: str


class Reached(Protocol):
    """How far a run was when its checkpoint was saved.

    Attributes:
        step, validated: the last step that was trained, and the last that was validated.
        metrics: the record of the lines that there were.
    """

    step: int
    validated: int
    metrics: Record


def record(lines: Iterable[bytes] = ()) -> Record:
    """The record of these lines."""
    found = Record(lines=0, sha256="")
    for line in lines:
        _follow(found, line)
    return found


def append(
    out: Path, step: int, split: str, values: dict[str, float], so_far: Record | None = None
) -> None:
    """Add a line, and make sure that it outlasts what is written after it.

    Args:
        so_far: the record of the lines before, which is brought up to date.
    """
    finite = {k: v if math.isfinite(v) else None for k, v in values.items()}
    line = (json.dumps({"step": step, "split": split, **finite}) + "\n").encode()
    new = not (out / NAME).exists()
    with (out / NAME).open("ab") as file:
        file.write(line)
        file.flush()
        os.fsync(file.fileno())
    if new:
        sync_folder(out)
    if so_far is not None:
        _follow(so_far, line)


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """All lines, see `parsed`."""
    return list(parsed(_raw(out)))


def parsed(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Lines that have a step and a split; others, like one that a crash cut short, are left out."""
    for text in lines:
        try:
            line = json.loads(text)
            yield {"step": line["step"], "split": line["split"], **line}
        except (ValueError, TypeError, KeyError, RecursionError):
            continue


def cut(out: Path, state: Reached) -> None:
    """Drop what was recorded after the checkpoint that a run goes on from.

    Damage is named, and what can be read is kept: the run itself does not depend on it.

    Args:
        state: of the checkpoint; its record is corrected where lines are lost.
    """
    before = _raw(out)
    kept = before[: state.metrics["lines"]]
    if record(kept) != state.metrics:
        reached = {"train": state.step, "val": state.validated}
        fit = [x for x in read_metrics(out) if _within(x, reached)]
        kept = [(json.dumps(x) + "\n").encode() for x in fit]
        log.warning(
            "%s: damaged: %d of its %d lines can be read; weights and figures do not depend on it",
            out / NAME,
            len(kept),
            state.metrics["lines"],
        )
        state.metrics = record(kept)
    if kept != before:
        write_whole(out / NAME, b"".join(kept))


def _within(line: dict[str, Any], reached: dict[str, int]) -> bool:
    step = line["step"]
    return isinstance(step, int) and line["split"] in reached and step <= reached[line["split"]]


def _raw(out: Path) -> list[bytes]:
    path = out / NAME
    return read_whole(path).splitlines(keepends=True) if path.exists() else []


def _follow(found: Record, line: bytes) -> None:
    found["lines"] += 1
    found["sha256"] = hashlib.sha256(found["sha256"].encode() + line).hexdigest()
