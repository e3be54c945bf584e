"""A run's folder is brought to where the last checkpoint was; what is said goes to its log."""

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
    """While entered, what is logged is also written to `run.log`."""
    handler = logging.FileHandler(out / "run.log", encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    root = logging.getLogger("metarun")
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        with contextlib.suppress(OSError):  # a full disk, when it flushes
            handler.close()


def prepare(
    out: Path, config: RunConfig, state: metrics.Reached, best: dict[str, Any] | None
) -> None:
    """Bring the folder to where `state` is: what was written after it is written again.

    Args:
        best: what `best.pt` should hold, if there has been a validation.
    """
    folder = out / "checkpoints"
    make_folder(folder)
    for place in (out, folder):
        clear_parts(place)
    keep_config(config, out)
    metrics.cut(out, state)
    checkpoint.set_aside(folder)
    if best is not None:
        try:
            stale = checkpoint.load_state(folder / checkpoint.BEST)["step"] != best["step"]
        except Refused as lost:  # also where it was killed between the last one and this
            if isinstance(lost, checkpoint.Damaged):
                log.warning("%s; it is made again", lost)
            stale = True
        if stale:
            checkpoint.save(folder / checkpoint.BEST, best)
