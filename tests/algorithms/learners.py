"""The learners that must have every property: all in `conf/algo`."""

from __future__ import annotations

from metarun.config.groups import choices
from metarun.testing import build

__all__ = ["SHIPPED", "STATISTICS", "build"]

SHIPPED = sorted(choices("algo"))
STATISTICS = ("transductive", "inductive")
