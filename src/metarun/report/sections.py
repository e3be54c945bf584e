"""The section of the page for one run: its protocol, settings, command, files and picture."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

from metarun.errors import printable
from metarun.report.album import Album
from metarun.report.curves import left_out
from metarun.report.entry import Entry
from metarun.report.untrusted import is_own, part, read_own

LINKED = ("result.json", "config.yaml", "metrics.jsonl", "test_episodes.csv")
LINKED += ("test_classes.csv", "run.log")
LINKED += ("episodes.png", "curves.png", "multirun.yaml")
MAX_CONFIG = 20_000  # characters of a configuration
PROTOCOL_TITLES = {  # in this order on the page
    "data": "data",
    "data_name": "name of the data",
    "split": "split",
    "ways": "ways",
    "shots": "shots",
    "queries": "queries per class",
    "episodes": "test episodes",
    "batch_norm": "batch norm",
    "published": "published",
    "augmentation": "augmentation in training",
    "selection": "checkpoint selected by",
    "interval": "interval",
    "precision": "precision",
    "engine": "engine of the inner loop",
    "normalisation": "normalisation of items",
    "pixels": "values in the picture files",
    "copies": "equal items in the split",
    "eval_seed": "seed of the test episodes",
    "train_data": "trained on",
    "train_on": "classes of the training",
    "steps_from": "steps chosen by the run",
    "data_settings": "settings of the data",
    "algo": "settings of the learner",
    "backbone": "settings of the backbone",
    "split_sha256": "sha256 of the split",
    "episodes_sha256": "sha256 of the episodes",
    "train_split_sha256": "sha256 of the training split",
}
RUN_TITLES = {
    "trial": "trial of the search",
    "pruned": "stopped by the search",
    "seed": "seed",
    "backbone": "backbone",
    "parameters": "parameters",
    "optimizer": "optimizer",
    "meta_batch": "tasks per step",
    "episodes_per_second": "episodes per second",
    "device": "device",
    "threads": "threads",
    "workers": "processes",
}
MAX_ENTRIES, MAX_DEPTH = 60, 5  # entries of a table, and levels of a value


def section(entry: Entry, page: Path, album: Album) -> dict[str, Any]:
    """The values that the template shows for a run, as text that the template escapes.

    Args:
        page: the folder of the page.
    """
    run = part(entry.result, "run")
    resumed, versions = run.get("resumed_with"), part(run, "versions")
    picture, no_picture = album.take(entry.folder)
    shown_elsewhere = ("headline", "published")
    protocol = {k: value for k, value in entry.protocol.items() if k not in shown_elsewhere}
    if entry.published:
        note = entry.published_note.removeprefix("published: ")
        protocol["published"] = f"{entry.published} ({note})"
    run_values = {key: v for key, v in {**run, **entry.result}.items() if key in RUN_TITLES}
    packages = [f"{_as_text(k)} {_as_text(v)}" for k, v in list(versions.items())[:MAX_ENTRIES]]
    return {
        "folder": printable(str(entry.folder), 500),
        "error": printable(entry.error),
        "command": printable(entry.command),
        "resumed": [_as_text(line) for line in resumed[:20]] if isinstance(resumed, list) else [],
        "protocol": _table(protocol, PROTOCOL_TITLES),
        "run": _table(run_values, RUN_TITLES),
        "versions": ", ".join(packages),
        "config": lines(read_own(entry.folder, "config.yaml", 2**20) or b"", MAX_CONFIG),
        "picture": picture,
        "no_picture": no_picture,
        "no_curves": left_out(entry.folder),
        "links": links(entry.folder, page),
    }


def lines(data: bytes, max_chars: int) -> str:
    """Text of several lines without control characters, truncated to `max_chars`."""
    text = data[: 4 * max_chars].decode("utf-8", "replace")
    printable_lines = [printable(line, 500) for line in text[:max_chars].splitlines()]
    return "\n".join([*printable_lines, *(["…"] if len(text) > max_chars else [])])


def links(folder: Path, page: Path) -> list[tuple[str, str]]:
    """Names and relative URLs of the run's files; empty if the run is not below the page."""
    relative = os.path.relpath(os.path.realpath(folder), os.path.realpath(page))
    if relative.split(os.sep, 1)[0] == os.pardir:
        return []
    # The leading `./` keeps a folder name such as `javascript:` from being read as a URL scheme.
    prefix = "./" if relative == os.curdir else f"./{quote(os.fsencode(relative))}/"
    return [(name, prefix + name) for name in LINKED if is_own(folder, name)]


def _table(values: dict[str, Any], titles: dict[str, str]) -> list[tuple[str, str]]:
    """Titles and values: entries with a title in the order of `titles`, then all others."""
    keys = [*(k for k in titles if k in values), *(k for k in values if k not in titles)]
    rows = [(titles.get(k, printable(str(k), 80)), _as_text(values[k])) for k in keys[:MAX_ENTRIES]]
    return [(title, text) for title, text in rows if text not in ("", "null")]


def _as_text(value: Any, depth: int = 0) -> str:
    """A value as text: `inner_lr 0.4, first_order false`."""
    if depth > MAX_DEPTH:
        return "…"
    if isinstance(value, str):
        return printable(value, 500)
    if isinstance(value, dict):
        items = list(value.items())[:MAX_ENTRIES]
        parts = [f"{k} {_as_text(v, depth + 1)}" for k, v in items if k != "_target_"]
        return printable(", ".join(parts), 1000)
    try:
        return printable(json.dumps(value), 200)
    except (RecursionError, ValueError):
        return "…"
