"""Reads and validates files and values that may come from an untrusted source."""

from __future__ import annotations

import json
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from metarun.config.schema import RANGE
from metarun.errors import printable
from metarun.files import read_whole


def is_own(folder: Path, name: str) -> bool:
    """Whether the folder contains a regular file of that name; symbolic links do not count."""
    try:
        return stat.S_ISREG((folder / name).lstat().st_mode)
    except (OSError, ValueError):
        return False


def read_own(folder: Path, name: str, max_bytes: int) -> bytes | None:
    """Read a file of the folder; `None` if it is missing, too large or not a regular file.

    A symbolic link could point to any file of the reader, which the page would then show.
    """
    try:
        return read_whole(folder / name, max_bytes) if is_own(folder, name) else None
    except OSError:
        return None


def part(content: Mapping[str, Any], key: str) -> dict[str, Any]:
    """The mapping under a key; empty if the value is of another type."""
    value = content.get(key)
    return value if isinstance(value, dict) else {}


def text(value: Any) -> str:
    """A string on one line without control characters; empty for anything else."""
    return printable(value) if isinstance(value, str) else ""


def number(value: Any) -> float | None:
    """A number with magnitude below 1e15; `None` for anything else, booleans included."""
    is_valid = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if is_valid else None


def whole(value: Any) -> int | None:
    """An integer from 0 to 2**63 − 1; `None` for anything else, booleans included."""
    is_valid = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if is_valid else None


def size(value: Any) -> int | str | None:
    """Ways or shots of a task: a `whole` number, `any`, or `1-10`; `None` for anything else."""
    varied = isinstance(value, str) and (value == "any" or RANGE.fullmatch(value))
    return value if varied else whole(value)


def to_float(text: str) -> float | None:
    """Parse a number, `nan` and infinity included; `None` if the text is not a number."""
    try:
        return float(text)
    except ValueError:
        return None


def shown(value: Any) -> str:
    """A value as one line of at most 80 characters, without control characters."""
    if isinstance(value, str | Path):
        return printable(str(value), 80)
    try:
        return printable(json.dumps(value, ensure_ascii=False), 80)
    except (RecursionError, ValueError):
        return "…"
