"""From a configuration node to what it names: checked against the signature, then called."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ConfigDict, Field, ValidationError, create_model

from metarun.config.overrides import nearest
from metarun.config.schema import GROUPS, explain
from metarun.errors import Refused

# Where a group's targets live, and how many positional arguments the caller of its blueprint has.
HOMES = {
    "data": ("metarun.data", 0),
    "backbone": ("metarun.backbones", 1),
    "algo": ("metarun.algorithms", 2),
    "optimizer": ("metarun.training.optimizer", 2),
    "augmentation": ("metarun.tasks.augmentation", 1),
    "logger": ("metarun.loggers", 1),
}


def blueprint(
    group: str, node: Mapping[str, Any], folders: Iterable[Path] = ()
) -> Callable[..., Any]:
    """What `node._target_` names, with the node's other keys as its keyword arguments.

    The keyword-only arguments of the target are the keys of its YAML file; their annotations say
    what is right. Positional arguments are for the caller of the blueprint.

    Args:
        group: the node's name, for messages.
        folders: a user's own config folders. They may name targets of their own, which are looked
            for in these folders first; besides those, only what metarun defines for this group is
            ever called.

    Raises:
        Refused: a line for each key that is unknown, missing, of a wrong type or out of range.
    """
    path = node.get("_target_")
    target = _find(group, path, list(folders))
    given = {key: value for key, value in node.items() if key != "_target_"}
    hints = get_type_hints(
        target.__init__ if inspect.isclass(target) else target, include_extras=True
    )
    parameters = {
        p.name: p
        for p in inspect.signature(target).parameters.values()
        if p.kind is inspect.Parameter.KEYWORD_ONLY
    }
    names = [f"{group}.{name}" for name in parameters]
    mistakes = [
        f"{group}.{key}: no such key{nearest(f'{group}.{key}', names)}"
        for key in given
        if key not in parameters
    ]
    model = create_model(
        str(path),
        __config__=ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=()),
        **{
            # Under an alias, since a field may not be called like a method of the model.
            f"key_{p.name}": (
                hints.get(p.name, Any),
                Field(... if p.default is p.empty else p.default, alias=p.name),
            )
            for p in parameters.values()
        },
    )
    known = {key: value for key, value in given.items() if key in parameters}
    try:
        model.model_validate(known)
    except ValidationError as error:
        mistakes += explain(error, prefix=group)
    if mistakes:
        raise Refused(*mistakes)
    return partial(target, **known)


def target_of(blueprint: Callable[..., Any]) -> Any:
    """The class or function behind a blueprint."""
    return blueprint.func if isinstance(blueprint, partial) else blueprint


def _find(group: str, path: Any, folders: list[Path]) -> Callable[..., Any]:
    """Import the dotted `path`, if metarun or a user's own folder vouches for it."""
    key, (home, arguments) = f"{group}._target_", HOMES[group]
    if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)+", path):
        raise Refused(f"{key}={path}: should be a dotted name, e.g. metarun.algorithms.maml.MAML")
    vouched = [f for f in folders if path in _targets_named_in(f)]
    if not vouched and not path.startswith(f"{home}."):
        raise Refused(
            f"{key}={path}: neither metarun's nor named in a folder of your own; "
            f"metarun's are in {home}, and a folder is given with --config-dir"
        )
    for folder in vouched:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    module, _, name = path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Refused(f"{key}={path}: cannot be imported ({error})") from error
    if not callable(found):
        raise Refused(f"{key}={path}: is not a class or function")
    if not vouched and getattr(found, "__module__", None) != module:  # something it imports
        raise Refused(f"{key}={path}: is not defined in {module}")
    if not _takes(found, arguments):
        raise Refused(f"{key}={path}: is not made to be a choice of {group}")
    return found


def _takes(target: Callable[..., Any], arguments: int) -> bool:
    """Can it be called with so many positional arguments, besides keywords?"""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # some that are not written in Python
        return False
    named = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    needed = sum(p.default is p.empty for p in named)
    most = float("inf") if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(named)
    return needed <= arguments <= most


def _targets_named_in(folder: Path) -> set[str]:
    # Only where choices live: a run folder beside them holds a stranger's config.yaml, perhaps.
    files = (f.read_text("utf-8") for group in GROUPS for f in (folder / group).rglob("*.yaml"))
    return {m[1] for text in files for m in re.finditer(r"_target_:\s*['\"]?([\w.]+)", text)}
