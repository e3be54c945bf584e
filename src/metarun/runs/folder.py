"""Preparation of a run folder for training, and its log file."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.files import clear_parts, make_folder
from metarun.runs import checkpoint, metrics
from metarun.runs.config_file import keep_config

log = logging.getLogger(__name__)


@contextlib.contextmanager
def logged(out: Path) -> Iterator[None]:
    """A context that also writes log messages to `run.log`."""
    handler = logging.FileHandler(out / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("metarun")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # flushing fails on a full disk
            handler.close()


def prepare(
    out: Path, config: RunConfig, state: metrics.Reached, best: dict[str, Any] | None
) -> None:
    """Restore the folder to the step of `state`; files written after that step are corrected.

    Args:
        best: the content of `best.pt`; `None` before the first validation.
    """
    folder = out / "checkpoints"
    make_folder(folder)
    clear_parts(out)
    clear_parts(folder)
    keep_config(config, out)
    metrics.cut(out, state)
    checkpoint.set_aside(folder)
    if best is not None:
        try:
            saved = checkpoint.load_state(folder / checkpoint.BEST, checkpoint.Best)
            stale = saved["step"] != best["step"]
        except Refused as error:  # missing if the run was killed between last.pt and best.pt
            if isinstance(error, checkpoint.Damaged):
                log.warning("%s; it is written again", error)
            stale = True
        if stale:
            checkpoint.save(folder / checkpoint.BEST, best)
