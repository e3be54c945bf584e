"""The keys of a choice: default, allowed values and help."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from metarun.config.explanation import show
from metarun.config.instantiate import HOMES, find_target, keys_of
from metarun.config.layers import TABLES
from metarun.config.overrides import leaves, one_line
from metarun.config.published import BATCH_NORMS
from metarun.config.schema import Start
from metarun.errors import Refused

SKIPPED = ("_target_", "defaults", "recommended", *TABLES)  # not keys of the choice

QUOTED = r"""'(?:''|[^'])*'|"(?:\\.|[^"\\])*\""""
LINE = re.compile(  # indentation, key, value and comment
    rf"( *)([\w./]+):(?: +(?:{QUOTED}|(?!['\"])(?:[^#]|(?<! )#)*))? *(?:(?<= )# ?(.*))?$"
)


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
        Refused: the file is malformed, or its target cannot be imported.
    """
    text, content = _read(file)
    comments = _comments(text)
    is_global = "# @package _global_" in text.splitlines()
    prefix = "" if is_global else f"{group.replace('/', '.')}."
    schemas: dict[str, Mapping[str, Any]] = {}
    if group in HOMES:
        node = content.get(group, {}) if is_global else content
        target = find_target(group, node.get("_target_"), config_dirs)
        models = [Start] if group == "backbone" else []
        for model in (*models, keys_of(target)):
            properties = model.model_json_schema()["properties"]
            schemas |= {f"{group}.{name}": value for name, value in properties.items()}
    values = {
        prefix + key: (value, comments.get(key, "")) for key, value in leaves(content, SKIPPED)
    }
    return [
        Key(key, show(value), allowed(schemas[key]) if key in schemas else "", comment)
        for key, (value, comment) in values.items()
    ]


def settings(group: str, file: Path) -> list[tuple[str, str]]:
    """Titles and overrides of what a choice sets under a condition.

    That is what an algorithm recommends, and what a preset sets and quotes for a cell.
    """
    _, content = _read(file)
    recommended = dict(content.get(group, content).get("recommended", {}))
    on_data = recommended.pop("on_data", {})
    rows = [("recommended", recommended)]
    rows += [
        ("recommended on any data" if data == "any" else f"recommended on data={data}", table)
        for data, table in on_data.items()
    ]
    for name, title in (("cells", ""), ("quick_cells", " quick=true")):
        rows += [(f"{cell}{title}", table) for cell, table in content.get(name, {}).items()]
    published = content.get("published", {})
    for kind in BATCH_NORMS:
        title = f"published ({kind} batch norm; {published.get('source')})"
        figures = {cell: " ± ".join(map(str, x)) for cell, x in published.get(kind, {}).items()}
        rows.append((title, figures))
    return [
        (title, " ".join(f"{key}={show(value)}" for key, value in table.items()))
        for title, table in rows
        if table
    ]


def _read(file: Path) -> tuple[str, dict[str, Any]]:
    try:
        text = file.read_text("utf-8-sig")
        content = yaml.safe_load(text) or {}
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise Refused(f"{file}: cannot be read ({one_line(error)})") from error
    if not isinstance(content, dict):
        raise Refused(f"{file}: should be a mapping of keys")
    return text, content


def _comments(text: str) -> dict[str, str]:
    """The comment of each dotted key: beside it, else in the lines right above it."""
    comments: dict[str, str] = {}
    parents: list[tuple[int, str]] = []  # indentation and name
    above: list[str] = []
    for line in text.splitlines():
        match = LINE.match(line)
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
