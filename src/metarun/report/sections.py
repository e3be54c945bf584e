"""A run's own section of the page: how its figures came about, and how to repeat the run."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metarun.errors import printable
from metarun.report.album import Album
from metarun.report.curves import left_out
from metarun.report.runs import Entry
from metarun.report.untrusted import is_own, own, part

LINKED = ("result.json", "config.yaml", "metrics.jsonl", "test_episodes.csv", "run.log")
LINKED += ("episodes.png", "curves.png", "multirun.yaml")
LONGEST = 20_000  # letters of a configuration
WORDS = {  # of the protocol, in the order of reading
    **{"data": "data", "split": "split", "ways": "ways", "shots": "shots"},
    **{"queries": "queries a class", "episodes": "test episodes", "batch_norm": "batch norm"},
    **{"augmentation": "augmentation in training", "selection": "checkpoint chosen by"},
    **{"interval": "interval", "precision": "precision", "normalisation": "items are read as"},
    **{"pixels": "numbers in the picture files", "copies": "equal items in the split"},
    **{"eval_seed": "seed of the test episodes", "train_data": "trained on"},
    **{"data_settings": "settings of the data", "algo": "settings of the learner"},
    **{"backbone": "settings of the backbone", "split_sha256": "sha256 of the split"},
    **{"episodes_sha256": "sha256 of the episodes"},
    **{"train_split_sha256": "sha256 of the training split"},
}
RUN = {
    **{"trial": "trial of the search", "pruned": "stopped by the search", "seed": "seed"},
    **{"backbone": "backbone", "parameters": "parameters", "optimizer": "optimizer"},
    **{"meta_batch": "tasks a step", "episodes_per_second": "episodes a second"},
    **{"device": "device", "threads": "threads"},
}
MOST, DEEPEST = 60, 5  # entries of a table, and levels of a value


def section(entry: Entry, page: Path, album: Album) -> dict[str, Any]:
    """All that is shown of a run besides its row; all of it text, which the template escapes.

    Args:
        page: the folder that the page will lie in.
    """
    run = part(entry.result, "run")
    resumed, versions = run.get("resumed_with"), part(run, "versions")
    picture, no_picture = album.take(entry.folder)
    protocol = {key: value for key, value in entry.protocol.items() if key != "headline"}
    known = {key: value for key, value in {**run, **entry.result}.items() if key in RUN}
    used = [f"{_worded(k)} {_worded(v)}" for k, v in list(versions.items())[:MOST]]
    return {
        "folder": printable(str(entry.folder), 500),
        "error": printable(entry.error),
        "command": printable(entry.command),
        "resumed": [_worded(one) for one in resumed[:20]] if isinstance(resumed, list) else [],
        "protocol": _table(protocol, WORDS),
        "run": _table(known, RUN),
        "versions": ", ".join(used),
        "config": lines(own(entry.folder, "config.yaml", 2**20) or b"", LONGEST),
        "picture": picture,
        "no_picture": no_picture,
        "no_curves": left_out(entry.folder),
        "links": links(entry.folder, page),
    }


def lines(data: bytes, longest: int) -> str:
    """Text of several lines without control characters, cut where it is too long."""
    text = data[: 4 * longest].decode("utf-8", "replace")
    kept = [printable(line, 500) for line in text[:longest].splitlines()]
    return "\n".join([*kept, *["…"][: int(len(text) > longest)]])


def links(folder: Path, page: Path) -> list[tuple[str, str]]:
    """Names and relative addresses of the run's files, if they lie below the page."""
    base, here = os.path.realpath(page), os.path.realpath(folder)
    below = os.path.relpath(here, base)
    if below.split(os.sep, 1)[0] == os.pardir:
        return []
    inside = "./" if below == os.curdir else f"./{quote(os.fsencode(below))}/"  # `./`: no scheme
    return [(name, inside + name) for name in LINKED if is_own(folder, name)]


def _table(found: dict[str, Any], words: dict[str, str]) -> list[tuple[str, str]]:
    """Known entries in their order, then those that other versions or learners add."""
    keys = [*(k for k in words if k in found), *(k for k in found if k not in words)]
    rows = ((words.get(k, printable(str(k), 80)), _worded(found[k])) for k in keys[:MOST])
    return [(key, value) for key, value in rows if value not in ("", "null")]


def _worded(value: Any, depth: int = 0) -> str:
    """A value in words: `inner_lr 0.4, first_order false`."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, str):
        return printable(value, 500)
    if isinstance(value, dict):
        known = list(value.items())[:MOST]
        parts = [f"{k} {_worded(v, depth + 1)}" for k, v in known if k != "_target_"]
        return printable(", ".join(parts), 1000)
    try:
        return printable(json.dumps(value), 200)
    except (RecursionError, ValueError):
        return "…"
