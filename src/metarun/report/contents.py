"""What the page takes from a run's folder: the run's own files alone, and no more than fits."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from urllib.parse import quote

from metarun.errors import printable
from metarun.files import read_whole

LINKED = ("result.json", "config.yaml", "metrics.jsonl", "test_episodes.csv", "run.log")
LINKED += ("episodes.png", "curves.png", "multirun.yaml")


def own(folder: Path, name: str, largest: int) -> bytes | None:
    """A file of the folder, or `None` where it is not there, too large, a link, a pipe, …

    A link could lead to any file of the reader's, which the page would then show.
    """
    if not is_own(folder, name):
        return None
    try:
        return read_whole(folder / name, largest)
    except OSError:
        return None


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


def is_own(folder: Path, name: str) -> bool:
    """Is it a file, and not a link to one?"""
    try:
        return stat.S_ISREG((folder / name).lstat().st_mode)
    except (OSError, ValueError):
        return False
