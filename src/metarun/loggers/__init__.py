"""Where a run's figures go besides its own folder, one a file. Loggers know nothing of learning.

A logger is a class made as `Logger(run, **keys of its YAML file)` from a `Run`; it never stops a
run: what goes wrong is said once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol


@dataclass(frozen=True)
class Run:
    """What a logger is told of the run.

    Attributes:
        id: stays the same when the run is resumed.
        name: for people.
        config: the resolved configuration, plain containers.
        resumed: the run goes on after a stop.
    """

    folder: Path
    id: str
    name: str
    config: dict[str, Any]
    tags: list[str] = field(default_factory=list)
    resumed: bool = False


class Logger(Protocol):
    def log(self, step: int, values: dict[str, float]) -> None:
        """Record `values` after outer step `step`; steps never go back."""

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        """The last call: final figures and pictures."""
