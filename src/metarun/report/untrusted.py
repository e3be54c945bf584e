"""Checks files and values that somebody else may have written, before they are used."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metarun.errors import printable
from metarun.files import read_whole


def is_own(folder: Path, name: str) -> bool:
    """Whether the folder holds a file of that name, and not a link to one."""
    try:
        return stat.S_ISREG((folder / name).lstat().st_mode)
    except (OSError, ValueError):
        return False


def own(folder: Path, name: str, largest: int) -> bytes | None:
    """A file of the folder, or `None` where it is missing, too large, a link, a pipe, …

    A link could lead to any file of the reader's, which the page would then show.
    """
    try:
        return read_whole(folder / name, largest) if is_own(folder, name) else None
    except OSError:
        return None


def part(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key; empty where there is something else."""
    found = content.get(key)
    return found if isinstance(found, dict) else {}


def text(value: Any) -> str:
    """A string on one line without control characters; empty for anything else."""
    return printable(value) if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """A finite number of JSON; `None` for anything else, true and false included."""
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if fits else None


def whole(value: Any) -> int | None:
    """A whole number of JSON that is not negative; `None` for anything else."""
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if fits else None


def to_float(text: str) -> float | None:
    """The number that a text spells, `nan` and infinity included."""
    try:
        return float(text)
    except ValueError:
        return None


def shown(value: Any) -> str:
    """A value on one line of a terminal: shortened, and without control characters."""
    if isinstance(value, str | Path):
        return printable(str(value), 80)
    try:
        return printable(json.dumps(value, ensure_ascii=False), 80)
    except (RecursionError, ValueError):
        return "…"
