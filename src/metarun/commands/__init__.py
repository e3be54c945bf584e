"""The commands of `metarun`, one module for each.

Each module has `run(request) -> int`, which returns the exit code. It checks the request before it
imports slow packages such as torch.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from metarun.config.command_line import Request


def names() -> list[str]:
    """Return the names of all commands."""
    return sorted(module.name for module in iter_modules(__path__))


def named(name: str) -> Callable[[Request], int]:
    """Return the function that runs the command `name`."""
    return import_module(f"{__name__}.{name}").run
