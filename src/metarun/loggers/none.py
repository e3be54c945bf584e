"""No logger: figures go to the run folder only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from metarun.loggers import Run


class NoLogger:
    """Records nothing."""

    def __init__(self, run: Run) -> None:
        pass

    def log(self, step: int, values: dict[str, float]) -> None:
        pass

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        pass
