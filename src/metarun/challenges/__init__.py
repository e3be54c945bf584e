"""Published test protocols with fixed tasks: `metarun evaluate run=… protocol=NAME`.

There is one module per protocol, each with

- `TASK`: the fixed values of `ways`, `shots`, `queries` and `episodes`;
- `admit(config)`: a line for each reason why a run with this configuration cannot be tested;
- `load(config)`: the tasks, a `metarun.tasks.gathered.Arrays` whose pick is `(task number,)`;
- `verdict(test)`: one line that compares the result with the published ones.

Slow imports happen inside `load`, after the run is admitted. `metarun.evaluate` runs the tests.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def names() -> list[str]:
    """Names of all challenges, sorted."""
    return sorted(module.name for module in iter_modules(__path__))


def named(name: str) -> ModuleType:
    """The module of the challenge `name`."""
    return import_module(f"{__name__}.{name}")
