"""Sweeps and searches: many runs from one command."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from metarun.errors import Refused


@contextlib.contextmanager
def writing_to(sweep: Path) -> Iterator[None]:
    """Refuse the request if the folder of the sweep cannot be written to before the first job."""
    try:
        yield
    except OSError as error:
        reason = f"cannot be written to ({error.strerror or error})"
        raise Refused(f"hydra.sweep.dir={sweep}: {reason}") from error
