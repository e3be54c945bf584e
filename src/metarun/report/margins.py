"""Differences of runs after each step of an optimizer, on the same functions."""

from __future__ import annotations

import re
from collections.abc import Sequence

from metarun.report.comparison import Pair
from metarun.report.tested import Tested, read_column
from metarun.report.untrusted import part
from metarun.stats import Difference, difference

AFTER = re.compile(r"loss_(\d{1,6})")  # the score after so many steps
SHOWN = (1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


def margins(pairs: Sequence[Pair]) -> dict[int, list[Difference]]:
    """Return the paired difference of each pair by number of steps; empty for other tasks.

    Of all steps whose score both runs have, these are the first, the last, and some between them.
    """
    tests = {id(test): test for pair in pairs for test in (pair.first, pair.second)}
    shared = set.intersection(*(_steps(test) for test in tests.values()))
    if not shared:
        return {}
    steps = sorted(shared.intersection(SHOWN) | {max(shared)})
    values = {
        name: {step: read_column(test, f"loss_{step}") for step in steps}
        for name, test in tests.items()
    }
    return {
        step: [difference(values[id(p.first)][step], values[id(p.second)][step]) for p in pairs]
        for step in steps
    }


def _steps(test: Tested) -> set[int]:
    """The numbers of steps after which the test has a score."""
    names = (AFTER.fullmatch(str(name)) for name in part(test.result, "test"))
    return {int(name[1]) for name in names if name} - {0}
