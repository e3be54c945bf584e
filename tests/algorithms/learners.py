"""The learners that must have every property: all in `conf/algo`."""

from __future__ import annotations

from metarun.properties import build
from metarun.tree import choices

__all__ = ["SHIPPED", "STATISTICS", "build"]

SHIPPED = sorted(choices("algo"))
STATISTICS = ("transductive", "inductive")
