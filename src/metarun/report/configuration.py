"""What a run was asked for, by dotted key: what its `config.yaml` and its command say."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from metarun.config.schema import show
from metarun.errors import printable
from metarun.report.untrusted import own

LARGEST = 2**20  # bytes
ENTRIES, DEEPEST = 2000, 8  # no configuration of ours has more; YAML can refer to itself
LETTERS = 80  # of a key
PLACES = ("resume", "run", "name", "out", "hydra", "data.root", "data.cache", "data_home")


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # C is ten times as fast
    """Has no merges and no numbers to base 60, by which a small file could ask for endless work."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        pass

    def number(self, node: yaml.ScalarNode) -> int | float | str:
        text = self.construct_scalar(node)
        for kind in (int, float):
            try:
                return kind(text)
            except ValueError:
                continue
        return text


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


def settings(run: Path) -> dict[str, str]:
    """The values of `config.yaml`, each as one would type it.

    A malformed or hostile file affects that run only: it has no settings then.
    """
    try:
        config = yaml.load(own(run, "config.yaml", LARGEST) or b"", _Loader)
    except Exception:  # such as KeyError, for `!!bool maybe`
        return {}
    if not isinstance(config, dict):
        return {}
    leaves = {
        printable(key, LETTERS): printable(_list(value) if isinstance(value, list) else show(value))
        for key, value in islice(_walk(config), ENTRIES)
        if not isinstance(value, dict) and not key.endswith("._target_")
    }
    last = sorted(leaves, key=lambda key: key.startswith("choices."))  # a choice takes precedence
    return {key.removeprefix("choices."): leaves[key] for key in last}


def words(command: str) -> dict[str, str]:
    """The `key=value` of a command, without those that say where files lie."""
    try:
        typed = shlex.split(command)
    except ValueError:
        return {}
    pairs = (word.lstrip("+").partition("=") for word in typed if "=" in word)
    return {key: value for key, _, value in pairs if not _is_place(key)}


def _is_place(key: str) -> bool:
    return key.startswith("-") or any(key == p or key.startswith(f"{p}.") for p in PLACES)


def _walk(node: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every entry, mappings as well, so that empty ones count towards `ENTRIES`."""
    yield key, node
    if isinstance(node, dict) and depth <= DEEPEST:
        for name, value in node.items():
            below = str(name)[: LETTERS + 1]
            yield from _walk(value, f"{key}.{below}" if key else below, depth + 1)


def _list(items: list[Any]) -> str:
    return f"[{','.join('…' if isinstance(i, list | dict) else show(i) for i in items[:20])}]"
