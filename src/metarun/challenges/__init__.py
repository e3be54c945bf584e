"""Published tests with tasks of their own, one a file: `metarun evaluate run=… protocol=NAME`.

Each module has

- `TASK`: the keys that it fixes, `ways`, `shots`, `queries` and `episodes`;
- `admit(config)`: a line for each reason why a run with this configuration cannot take the test;
- `load(config)`: its tasks, `metarun.tasks.gathered.Arrays` whose pick is `(number,)`;
- `verdict(test)`: one line that sets the figures beside the published ones.

A module imports nothing heavy before a run is admitted. How a run takes the test is in
`metarun.evaluate`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType


def names() -> list[str]:
    """All challenges."""
    return sorted(module.name for module in iter_modules(__path__))


def named(name: str) -> ModuleType:
    """The challenge called `name`."""
    return import_module(f"{__name__}.{name}")
