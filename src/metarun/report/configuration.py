"""The settings of a run by dotted key, from its `config.yaml` and its command."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from metarun.config.explanation import show
from metarun.config.schema import PLACES
from metarun.errors import printable
from metarun.report.untrusted import read_own
from metarun.runs.yaml_file import MAX_BYTES, parse_yaml

MAX_ENTRIES, MAX_DEPTH = 2000, 8
MAX_KEY = 80  # characters of a key
PATH_KEYS = ("resume", "run", "name", "out", "hydra", "data_home", "budget", *PLACES)


def settings(run: Path) -> dict[str, str]:
    """The values of `config.yaml`, as typed on a command line; empty if the file is malformed."""
    try:
        config = parse_yaml(read_own(run, "config.yaml", MAX_BYTES) or b"")
    except ValueError:
        return {}
    if not isinstance(config, dict):
        return {}
    leaves = {
        printable(key, MAX_KEY): printable(_list(value) if isinstance(value, list) else show(value))
        for key, value in islice(_walk(config), MAX_ENTRIES)
        if not isinstance(value, dict) and not key.endswith("._target_")
    }
    choices_last = sorted(leaves, key=lambda key: key.startswith("choices."))  # they override
    return {key.removeprefix("choices."): leaves[key] for key in choices_last}


def words(command: str) -> dict[str, str]:
    """The `key=value` arguments of a command, without options and paths."""
    try:
        arguments = shlex.split(command)
    except ValueError:
        return {}
    pairs = (word.lstrip("+").partition("=") for word in arguments if "=" in word)
    return {key: value for key, _, value in pairs if not _is_path_key(key)}


def _is_path_key(key: str) -> bool:
    return key.startswith("-") or any(key == p or key.startswith(f"{p}.") for p in PATH_KEYS)


def _walk(node: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """All entries by dotted key; mappings too, so that empty ones count towards `MAX_ENTRIES`."""
    yield key, node
    if isinstance(node, dict) and depth <= MAX_DEPTH:
        for name, value in node.items():
            subkey = str(name)[: MAX_KEY + 1]
            yield from _walk(value, f"{key}.{subkey}" if key else subkey, depth + 1)


def _list(items: list[Any]) -> str:
    return f"[{','.join('…' if isinstance(i, list | dict) else show(i) for i in items[:20])}]"
