"""`metrics.jsonl`, the training curves of a run: one JSON object per line.

A checkpoint stores the number of lines at its step and a digest of them, so that a resumed run
keeps exactly these lines.
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
    """The number of lines and their chained digest."""

    lines: int
    sha256: str


class Reached(Protocol):
    """The progress of a run in its checkpoint, see `metarun.training.state.State`.

    Attributes:
        step, validated: the last trained step and the last validated step.
        metrics: the record of the lines written until then.
    """

    step: int
    validated: int
    metrics: Record


def record(lines: Iterable[bytes] = ()) -> Record:
    """The record of these lines."""
    result = Record(lines=0, sha256="")
    for line in lines:
        _extend(result, line)
    return result


def append(
    out: Path, step: int, split: str, values: dict[str, float], so_far: Record | None = None
) -> None:
    """Append a line and sync it to disk, before any later write.

    Args:
        so_far: the record of the earlier lines; updated in place.
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
        _extend(so_far, line)


def read_metrics(out: Path) -> list[dict[str, Any]]:
    """All valid lines of the file, see `parsed`."""
    return list(parsed(_read_lines(out)))


def parsed(lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    """Parse lines; those without a step and a split, e.g. cut off by a crash, are left out."""
    for text in lines:
        try:
            line = json.loads(text)
            yield {"step": line["step"], "split": line["split"], **line}
        except (ValueError, TypeError, KeyError, RecursionError):
            continue


def cut(out: Path, state: Reached) -> None:
    """Remove the lines written after the checkpoint that a run resumes from.

    If the file is damaged, logs a warning and keeps the readable lines: training does not need
    them.

    Args:
        state: the state in the checkpoint; if lines are lost, its record is corrected.
    """
    old_lines = _read_lines(out)
    lines = old_lines[: state.metrics["lines"]]
    if record(lines) != state.metrics:
        last_steps = {"train": state.step, "val": state.validated}
        readable = [line for line in read_metrics(out) if _within(line, last_steps)]
        lines = [(json.dumps(line) + "\n").encode() for line in readable]
        log.warning(
            "%s: damaged: %d of its %d lines can be read; weights and figures do not depend on it",
            out / NAME,
            len(lines),
            state.metrics["lines"],
        )
        state.metrics = record(lines)
    if lines != old_lines:
        write_whole(out / NAME, b"".join(lines))


def _within(line: dict[str, Any], last_steps: dict[str, int]) -> bool:
    step, split = line["step"], line["split"]
    return isinstance(step, int) and split in last_steps and step <= last_steps[split]


def _read_lines(out: Path) -> list[bytes]:
    path = out / NAME
    return read_whole(path).splitlines(keepends=True) if path.exists() else []


def _extend(so_far: Record, line: bytes) -> None:
    so_far["lines"] += 1
    so_far["sha256"] = hashlib.sha256(so_far["sha256"].encode() + line).hexdigest()
