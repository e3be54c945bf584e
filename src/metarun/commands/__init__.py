"""What can be typed after `metarun`, one command a file.

Each module has `run(request) -> int`: the exit code. A module imports nothing heavy before it knows
that the request is sound.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pkgutil import iter_modules

from metarun.config.command_line import Request


def names() -> list[str]:
    """All commands."""
    return sorted(module.name for module in iter_modules(__path__))


def named(name: str) -> Callable[[Request], int]:
    """The command called `name`."""
    return import_module(f"{__name__}.{name}").run
