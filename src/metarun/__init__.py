"""metarun: a config-driven runner for few-shot and meta-learning experiments.

The package exports the Python interface (`fit`, `load` and the exceptions that they raise) and the
classes that custom learners and data sets need. They are imported on first use, so that
`import metarun` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from metarun.algorithms import Learner
    from metarun.errors import Interrupted, Refused, RunFailed
    from metarun.interface import Run, fit, load
    from metarun.predict.prediction import Prediction
    from metarun.tasks.headline import Headline
    from metarun.tasks.objectives import CLASSIFICATION, REGRESSION, Objective
    from metarun.tasks.sampler import TaskSource
    from metarun.tasks.task import Evidence, Examples, Judged, Model, Spec, Task

__version__ = "0.1.0"

_HOMES = {
    **dict.fromkeys(("Run", "fit", "load"), "metarun.interface"),
    **dict.fromkeys(("Interrupted", "Refused", "RunFailed"), "metarun.errors"),
    "Prediction": "metarun.predict.prediction",
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
    "Interrupted",
    "Judged",
    "Learner",
    "Model",
    "Objective",
    "Prediction",
    "Refused",
    "Run",
    "RunFailed",
    "Spec",
    "Task",
    "TaskSource",
    "fit",
    "load",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
