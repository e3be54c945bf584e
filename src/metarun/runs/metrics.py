"""`metrics.jsonl`, the training curves of a run: one JSON object per line.

A checkpoint stores the number of lines at its step and a digest of them, so that a resumed run
keeps exactly these lines.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import os
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypedDict

from metarun.files import open_file, replacing, sync_folder

NAME = "metrics.jsonl"
MAX_LINE = 2**16  # bytes
MAX_LINES = 10**6  # kept in memory

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
    """The valid lines of the file, at most `MAX_LINES`, see `parsed`."""
    with _lines(out) as lines:
        return list(islice(parsed(lines), MAX_LINES))


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
    last_steps = {"train": state.step, "val": state.validated}
    with _lines(out) as lines:
        intact = record(islice(lines, state.metrics["lines"])) == state.metrics
        if intact and next(lines, None) is None:
            return

    def kept() -> Iterator[bytes]:
        with _lines(out) as lines:
            first = islice(lines, state.metrics["lines"])
            if intact:
                yield from first
            else:
                readable = (line for line in parsed(lines) if _within(line, last_steps))
                yield from ((json.dumps(line) + "\n").encode() for line in readable)

    corrected = record(kept())
    if not intact:
        log.warning(
            "%s: damaged: %d of its %d lines can be read; weights and figures do not depend on it",
            out / NAME,
            corrected["lines"],
            state.metrics["lines"],
        )
    with replacing(out / NAME) as file:
        file.writelines(kept())
    state.metrics = corrected


def _within(line: dict[str, Any], last_steps: dict[str, int]) -> bool:
    step, split = line["step"], line["split"]
    known = isinstance(step, int) and isinstance(split, str) and split in last_steps
    return known and step <= last_steps[split]


@contextlib.contextmanager
def _lines(out: Path) -> Iterator[Iterator[bytes]]:
    """The lines of the file, read one by one; a line longer than `MAX_LINE` bytes is split."""
    if not (out / NAME).exists():
        yield iter(())
        return
    with open_file(out / NAME) as file:
        yield iter(partial(file.readline, MAX_LINE), b"")


def _extend(so_far: Record, line: bytes) -> None:
    so_far["lines"] += 1
    so_far["sha256"] = hashlib.sha256(so_far["sha256"].encode() + line).hexdigest()
