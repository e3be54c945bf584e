"""Experiment loggers, one per file. They do not depend on the training code.

A logger is created as `Logger(run, **keys of its YAML file)`. An error in a logger is reported once
and does not stop the run. A logger may have a static method `check(tags, **keys of its YAML file)`,
which raises `Refused` before the run begins.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from metarun.errors import Refused

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Run:
    """Describes a run to a logger.

    Attributes:
        folder: the run folder.
        id: stays the same when the run is resumed.
        name: the name to show to people.
        config: the resolved configuration, in plain containers.
        resumed: whether the run was resumed from a checkpoint.
    """

    folder: Path
    id: str
    name: str
    config: dict[str, Any]
    tags: list[str] = field(default_factory=list)
    resumed: bool = False


class Logger(Protocol):
    """Interface of loggers. Messages use the class attribute `title`, if there is one."""

    def log(self, step: int, values: dict[str, float]) -> None:
        """Record `values` after outer step `step`; steps never decrease."""

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        """Record final figures and pictures; the last call."""


def check_logger(make: Callable[..., Logger], tags: list[str]) -> None:
    """Call `check` of the class of a logger, if it has one.

    Raises:
        Refused: the logger does not accept a value. `Guarded` reports other errors.
    """
    check = getattr(getattr(make, "func", make), "check", None)
    if check is not None:
        try:
            check(tags, **getattr(make, "keywords", {}))
        except Refused:
            raise
        except Exception as error:
            log.debug("%s", error)


class Guarded:
    """A logger that is switched off, with a warning, when an error occurs in it.

    Args:
        make: creates the logger.
    """

    def __init__(self, make: Callable[[Run], Logger], run: Run) -> None:
        kind = getattr(make, "func", make)
        self.title = getattr(kind, "title", getattr(kind, "__name__", "the logger"))
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
