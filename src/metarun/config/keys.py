"""The keys of a choice: default, allowed values and help."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from metarun.config.instantiate import HOMES, find_target, keys_of
from metarun.config.schema import show


class Key(NamedTuple):
    """A key of a choice.

    Attributes:
        name: dotted, as on a command line.
        default: the value in the file.
        allowed: the annotation of the argument in words; empty for a preset.
        help: the comment beside the key or above it.
    """

    name: str
    default: str
    allowed: str
    help: str


def describe(group: str, file: Path, config_dirs: Iterable[Path] = ()) -> list[Key]:
    """The keys in the YAML file of a choice, in their order.

    Raises:
        Refused: the target of the file cannot be imported.
    """
    text = file.read_text("utf-8")
    content, comments = yaml.safe_load(text) or {}, _comments(text)
    is_global = "# @package _global_" in text.splitlines()
    prefix = "" if is_global else f"{group}."
    schemas: dict[str, Mapping[str, Any]] = {}
    if group in HOMES:
        node = content[group] if is_global else content
        schema = keys_of(find_target(group, node["_target_"], config_dirs)).model_json_schema()
        schemas = {f"{group}.{name}": value for name, value in schema["properties"].items()}
    return [
        Key(
            prefix + key,
            show(value),
            allowed(schemas[prefix + key]) if prefix + key in schemas else "",
            comments.get(key, ""),
        )
        for key, value in _values(content)
    ]


def _values(content: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in content.items():
        key = f"{prefix}{name}"
        if name in ("_target_", "defaults"):
            continue
        if isinstance(value, dict) and value:
            yield from _values(value, f"{key}.")
        else:
            yield key, value


def _comments(text: str) -> dict[str, str]:
    """The comment of each dotted key: beside it, else in the lines right above it."""
    comments: dict[str, str] = {}
    parents: list[tuple[int, str]] = []  # indentation and name
    above: list[str] = []
    for line in text.splitlines():
        match = re.match(r"( *)([\w./]+):(?: [^#]*)?(?:(?<= )# ?(.*))?$", line)
        if match:
            indent = len(match[1])
            parents = [(i, name) for i, name in parents if i < indent] + [(indent, match[2])]
            key = ".".join(name for _, name in parents)
            comments[key] = match[3] or " ".join(above)
        is_comment = line.lstrip().startswith("#")
        above = [*above, line.lstrip("# ")] if is_comment else []
    return comments


def allowed(schema: Mapping[str, Any]) -> str:
    """The values that a JSON schema allows, in words: `number > 0, null`."""
    if "anyOf" in schema:
        return ", ".join(allowed(option) for option in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    if "const" in schema:
        return str(schema["const"])
    kind = schema.get("type")
    if kind == "array":
        items = schema.get("items")
        return f"list of {allowed(items)}" if items else "list"
    words = {"boolean": "true, false", "string": "text", "object": "mapping", None: "any value"}
    signs = {
        "exclusiveMinimum": ">",
        "minimum": "≥",
        "exclusiveMaximum": "<",
        "maximum": "≤",
    }
    bounds = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema]
    return " ".join([words.get(kind, str(kind)), " and ".join(bounds)]).strip()
