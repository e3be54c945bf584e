"""Where a run's figures go besides its own folder, one a file. Loggers know nothing of learning.

A logger is a class made as `Logger(run, **keys of its YAML file)` from a `Run`; it never stops a
run: what goes wrong is said once.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

log = logging.getLogger(__name__)


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
    """Its `title`, if it has one, is what messages call it."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Record `values` after outer step `step`; steps never go back."""

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        """The last call: final figures and pictures."""


class Guarded:
    """A logger whose trouble is said once and costs the run nothing.

    Args:
        make: the blueprint of a logger.
    """

    def __init__(self, make: Callable[[Run], Logger], run: Run) -> None:
        made_by = getattr(make, "func", make)
        self.title = getattr(made_by, "title", getattr(made_by, "__name__", "the logger"))
        self.logger: Logger | None = None
        self.logger = self._guard(make, run)

    def log(self, step: int, values: dict[str, float]) -> None:
        if self.logger is not None:
            self._guard(self.logger.log, step, dict(values))

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        if self.logger is not None:
            self._guard(self.logger.finish, dict(summary), dict(pictures), failed)

    def _guard(self, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except Exception as error:
            self.logger = None
            lines = str(error).strip().splitlines()
            log.warning(
                "%s is off for the rest of this run: %s",
                self.title,
                lines[0] if lines else repr(error),
            )
            return None
