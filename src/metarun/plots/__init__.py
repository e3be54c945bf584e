"""Plots of learning curves and of episodes."""

from __future__ import annotations

import os

from metarun.errors import Refused

try:
    import matplotlib  # noqa: F401
except ValueError as error:
    if (backend := os.environ.get("MPLBACKEND")) is None:
        raise
    reason = "no backend of Matplotlib; unset it: pictures are only saved as files"
    raise Refused(f"MPLBACKEND={backend}: {reason}") from error
