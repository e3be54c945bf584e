"""Import the class that a node of the configuration names, and check its arguments."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model

from metarun.config.explanation import explain
from metarun.config.overrides import nearest
from metarun.config.schema import GROUPS, OF_ALL_DATA, Start
from metarun.errors import Refused

# The package of each group, and the number of positional arguments of its targets.
HOMES = {
    "data": ("metarun.data", 0),
    "backbone": ("metarun.backbones", 1),
    "algo": ("metarun.algorithms", 2),
    "optimizer": ("metarun.training.optimizer", 2),
    "augmentation": ("metarun.tasks.augmentation", 1),
    "logger": ("metarun.loggers", 1),
}


def blueprint(
    group: str, node: Mapping[str, Any], config_dirs: Iterable[Path] = ()
) -> Callable[..., Any]:
    """The class or function that `node._target_` names, bound to the other keys of the node.

    The keyword-only arguments of the target are the keys of its YAML file, and their annotations
    define the allowed values. The caller of the blueprint passes the positional arguments.

    Args:
        group: the group that the node belongs to.
        config_dirs: config folders of the user. Targets named in them are imported from there.
            Any other target must be defined by metarun in the package of this group.

    Raises:
        Refused: a line for each key that is unknown, missing, of a wrong type or out of range.
    """
    target = find_target(group, node.get("_target_"), config_dirs)
    values = {
        key: value
        for key, value in node.items()
        if key != "_target_" and f"{group}.{key}" not in OF_ALL_DATA
    }
    model = keys_of(target)
    names = [str(field.alias) for field in model.model_fields.values()]
    general = [
        k for k in values if group == "backbone" and k in Start.model_fields and k not in names
    ]
    mistakes = [
        f"{group}.{key}: no such key{nearest(f'{group}.{key}', [f'{group}.{n}' for n in names])}"
        for key in values
        if key not in names and key not in general
    ]
    known = {key: value for key, value in values.items() if key in names}
    for kind, keys in ((model, known), (Start, {key: values[key] for key in general})):
        try:
            kind.model_validate(keys)
        except ValidationError as error:
            mistakes += explain(error, prefix=group)
    if mistakes:
        raise Refused(*mistakes)
    return partial(target, **known)


def keys_of(target: Callable[..., Any]) -> type[BaseModel]:
    """A pydantic model of the keyword-only arguments of a target; aliases are their names."""
    hints = get_type_hints(
        target.__init__ if inspect.isclass(target) else target, include_extras=True
    )
    return create_model(
        target.__name__,
        __config__=ConfigDict(strict=True, allow_inf_nan=False, protected_namespaces=()),
        **{
            # An alias, because a field must not have the name of a method of the model.
            f"key_{p.name}": (
                hints.get(p.name, Any),
                Field(... if p.default is p.empty else p.default, alias=p.name),
            )
            for p in inspect.signature(target).parameters.values()
            if p.kind is inspect.Parameter.KEYWORD_ONLY
        },
    )


def target_of(blueprint: Callable[..., Any]) -> Any:
    """The class or function of a blueprint."""
    return blueprint.func if isinstance(blueprint, partial) else blueprint


def find_target(group: str, path: Any, config_dirs: Iterable[Path]) -> Callable[..., Any]:
    """Import the dotted `path` if metarun defines it or a config folder of the user names it.

    Raises:
        Refused: the target cannot be imported or does not belong to this group.
    """
    key, (home, arguments) = f"{group}._target_", HOMES[group]
    if not isinstance(path, str) or not re.fullmatch(r"\w+(\.\w+)+", path):
        raise Refused(f"{key}={path}: should be a dotted name, e.g. metarun.algorithms.maml.MAML")
    sources = [folder for folder in config_dirs if path in _targets_named_in(folder)]
    if not sources and not path.startswith(f"{home}."):
        raise Refused(
            f"{key}={path}: should be in {home}, or be the target in a file of your config folder; "
            "add the folder with --config-dir"
        )
    for folder in sources:
        if str(folder) not in sys.path:
            sys.path.insert(0, str(folder))
    module, _, name = path.rpartition(".")
    try:
        target = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Refused(f"{key}={path}: cannot be imported ({error})") from error
    if not callable(target):
        raise Refused(f"{key}={path}: is not a class or function")
    if not sources and getattr(target, "__module__", None) != module:  # only imported there
        raise Refused(f"{key}={path}: is not defined in {module}")
    if not _takes(target, arguments):
        raise Refused(f"{key}={path}: cannot be a choice of {group}")
    return target


def _takes(target: Callable[..., Any], arguments: int) -> bool:
    """Whether the target can be called with this number of positional arguments."""
    try:
        parameters = inspect.signature(target).parameters.values()
    except (TypeError, ValueError):  # it has no signature, like some callables written in C
        return False
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in positional)
    most = float("inf") if any(p.kind is p.VAR_POSITIONAL for p in parameters) else len(positional)
    return required <= arguments <= most


def _targets_named_in(folder: Path) -> set[str]:
    """The targets in the YAML files of a config folder."""
    # Only in the folders of groups: other folders may contain the config.yaml of an untrusted run.
    files = (f.read_text("utf-8") for group in GROUPS for f in (folder / group).rglob("*.yaml"))
    return {m[1] for text in files for m in re.finditer(r"_target_:\s*['\"]?([\w.]+)", text)}
