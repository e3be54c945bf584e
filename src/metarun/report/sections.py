"""A run's own section of the page: how its number came about, and how to get there again."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from metarun.errors import printable
from metarun.report.album import Album
from metarun.report.contents import lines, links, own
from metarun.report.curves import left_out
from metarun.report.runs import Entry

LONGEST = 20_000  # letters of a configuration
WORDS = {  # of the protocol, in the order of reading
    "data": "data",
    "split": "split",
    "ways": "ways",
    "shots": "shots",
    "queries": "queries a class",
    "episodes": "test episodes",
    "batch_norm": "batch norm",
    "augmentation": "augmentation in training",
    "selection": "checkpoint chosen by",
    "interval": "interval",
    "precision": "precision",
    "normalisation": "items are read as",
    "pixels": "numbers in the picture files",
    "copies": "equal items in the split",
    "eval_seed": "seed of the test episodes",
    "train_data": "trained on",
    "data_settings": "settings of the data",
    "algo": "settings of the learner",
    "backbone": "settings of the backbone",
    "split_sha256": "sha256 of the split",
    "episodes_sha256": "sha256 of the episodes",
    "train_split_sha256": "sha256 of the training split",
}
RUN = {
    "trial": "trial of the search",
    "pruned": "stopped by the search",
    "seed": "seed",
    "backbone": "backbone",
    "parameters": "parameters",
    "optimizer": "optimizer",
    "meta_batch": "tasks a step",
    "episodes_per_second": "episodes a second",
    "device": "device",
    "threads": "threads",
}
MOST, DEEPEST = 60, 5  # entries of a table, and levels of a value


@dataclass(frozen=True)
class Section:
    """What the template shows; all of it text, which it escapes."""

    folder: str
    error: str
    command: str
    resumed: list[str]
    protocol: list[tuple[str, str]]
    run: list[tuple[str, str]]
    versions: str
    config: str
    picture: str
    no_picture: str
    no_curves: str
    links: list[tuple[str, str]]


def section(entry: Entry, page: Path, album: Album) -> Section:
    """All that is shown of a run besides its row.

    Args:
        page: the folder that the page will lie in.
    """
    run = entry.result.get("run")
    run = run if isinstance(run, dict) else {}
    resumed = run.get("resumed_with")
    versions = run.get("versions")
    picture, no_picture = album.take(entry.folder)
    config = own(entry.folder, "config.yaml", 2**20)
    return Section(
        folder=printable(str(entry.folder), 500),
        error=printable(entry.error),
        command=printable(entry.command),
        resumed=[_shown(one) for one in resumed[:20]] if isinstance(resumed, list) else [],
        protocol=_table({k: v for k, v in entry.protocol.items() if k != "headline"}, WORDS),
        run=_table({k: v for k, v in {**run, **entry.result}.items() if k in RUN}, RUN),
        versions=", ".join(f"{_shown(k)} {_shown(v)}" for k, v in list(versions.items())[:MOST])
        if isinstance(versions, dict)
        else "",
        config=lines(config, LONGEST) if config else "",
        picture=picture,
        no_picture=no_picture,
        no_curves=left_out(entry.folder),
        links=links(entry.folder, page),
    )


def _table(found: dict[str, Any], words: dict[str, str]) -> list[tuple[str, str]]:
    """Known entries in their order, then those that other versions or learners add."""
    keys = [*(k for k in words if k in found), *(k for k in found if k not in words)]
    rows = ((words.get(k, printable(str(k), 80)), _shown(found[k])) for k in keys[:MOST])
    return [(key, value) for key, value in rows if value not in ("", "null")]


def _shown(value: Any, depth: int = 0) -> str:
    """A value in words: `inner_lr 0.4, first_order false`."""
    if depth > DEEPEST:
        return "…"
    if isinstance(value, str):
        return printable(value, 500)
    if isinstance(value, dict):
        known = list(value.items())[:MOST]
        parts = [f"{k} {_shown(v, depth + 1)}" for k, v in known if k != "_target_"]
        return printable(", ".join(parts), 1000)
    try:
        return printable(json.dumps(value), 200)
    except (RecursionError, ValueError):
        return "…"
