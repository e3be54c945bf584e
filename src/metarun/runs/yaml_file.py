"""Reads YAML files that may come from somebody else, in time and memory bounded by their size."""

from __future__ import annotations

from typing import Any

import yaml

MAX_BYTES = 2**20
MAX_NODES, MAX_DEPTH = 20_000, 30


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # the C loader is 10 times faster
    """A safe loader without merge keys and base-60 numbers, which can take quadratic time."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        pass

    def number(self, node: yaml.ScalarNode) -> int | float | str:
        text = self.construct_scalar(node)
        for number_type in (int, float):
            try:
                return number_type(text)
            except ValueError:
                continue
        return text


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.number)
_Loader.add_constructor("tag:yaml.org,2002:float", _Loader.number)


def parse_yaml(data: bytes) -> Any:
    """The content of a YAML file that metarun has written, as plain containers.

    Raises:
        ValueError: the text is not valid YAML, or has what metarun never writes: references
            (`*name`), which make a small file arbitrarily large or endless, more than `MAX_NODES`
            values, or more than `MAX_DEPTH` levels.
    """
    try:
        text = data.decode("utf-8")
        _check_events(text)
        return yaml.load(text, _Loader)
    except Exception as error:  # PyYAML raises many types, such as KeyError for `!!bool maybe`
        lines = str(error).splitlines() or [type(error).__name__]
        raise ValueError(lines[0] if isinstance(error, ValueError) else "; ".join(lines)) from error


def _check_events(text: str) -> None:
    depth = nodes = 0
    for event in yaml.parse(text, _Loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError(f"contains a reference, *{event.anchor}, which metarun never writes")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        nodes += isinstance(event, yaml.NodeEvent)
        if depth > MAX_DEPTH or nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES} values, or {MAX_DEPTH} levels")
