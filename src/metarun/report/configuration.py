"""What a run's `config.yaml` says, by dotted key; a stranger's costs only itself."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from metarun.config.schema import show
from metarun.errors import printable
from metarun.files import read_whole

LARGEST = 2**20  # bytes
ENTRIES, DEEPEST = 2000, 8  # no configuration of ours has more; YAML can refer to itself
LETTERS = 80  # of a key


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # C is ten times as fast
    """Without merges and numbers to the base of 60: a small file could ask for endless ones."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        pass


def _number(loader: _Loader, node: yaml.ScalarNode) -> int | float | str:
    text = loader.construct_scalar(node)
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


_Loader.add_constructor("tag:yaml.org,2002:int", _number)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)


def settings(run: Path) -> dict[str, str]:
    """Each value as one would type it; nothing where the file cannot be read, or is a link."""
    file = run / "config.yaml"
    try:
        if file.is_symlink():
            return {}
        config = yaml.load(read_whole(file, LARGEST), _Loader)
    except Exception:  # YAML raises what it stumbles over: KeyError for !!bool maybe
        return {}
    if not isinstance(config, dict):
        return {}
    leaves = {
        printable(key, LETTERS): printable(_list(value) if isinstance(value, list) else show(value))
        for key, value in islice(_walk(config), ENTRIES)
        if not isinstance(value, dict) and not key.endswith("._target_")
    }
    chosen = {k.removeprefix("choices."): v for k, v in leaves.items() if k.startswith("choices.")}
    return {**{k: v for k, v in leaves.items() if not k.startswith("choices.")}, **chosen}


def _walk(node: Any, key: str = "", depth: int = 0) -> Iterator[tuple[str, Any]]:
    """Every entry, mappings as well: so their number is known also where they hold nothing."""
    yield key, node
    if isinstance(node, dict) and depth <= DEEPEST:
        for name, value in node.items():
            below = str(name)[: LETTERS + 1]
            yield from _walk(value, f"{key}.{below}" if key else below, depth + 1)


def _list(items: list[Any]) -> str:
    return f"[{','.join('…' if isinstance(i, list | dict) else show(i) for i in items[:20])}]"
