"""metarun: a config-driven runner for few-shot and meta-learning experiments.

The package exports the classes that custom learners and data sets need. They are imported on first
use, so that `import metarun` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarun.algorithms import Learner
    from metarun.tasks.headline import Headline
    from metarun.tasks.objectives import CLASSIFICATION, REGRESSION, Objective
    from metarun.tasks.sampler import TaskSource
    from metarun.tasks.task import Evidence, Examples, Judged, Model, Spec, Task

__version__ = "0.1.0"

_HOMES = {
    "Learner": "metarun.algorithms",
    "Headline": "metarun.tasks.headline",
    **dict.fromkeys(("CLASSIFICATION", "REGRESSION", "Objective"), "metarun.tasks.objectives"),
    "TaskSource": "metarun.tasks.sampler",
    **dict.fromkeys(
        ("Evidence", "Examples", "Judged", "Model", "Spec", "Task"), "metarun.tasks.task"
    ),
}
__all__ = [
    "CLASSIFICATION",
    "REGRESSION",
    "Evidence",
    "Examples",
    "Headline",
    "Judged",
    "Learner",
    "Model",
    "Objective",
    "Spec",
    "Task",
    "TaskSource",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
