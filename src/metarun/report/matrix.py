"""Every run against every other: paired differences where they were tested in the same way."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metarun.errors import Refused
from metarun.report import comparison
from metarun.report.contents import is_own
from metarun.report.runs import Entry
from metarun.stats import difference, holm
from metarun.tasks.headline import Headline

COMPARED = 300  # runs of a group: 44,850 pairs
GROUPS = 500  # of which most hold one run: nothing to compare, and slow to look through
VALUES = 20_000_000  # scores that are held at once, 160 MB


@dataclass(eq=False)
class Group:
    """Runs that were tested on the same frozen episodes in the same way.

    Attributes:
        entries: as they came, the best first; `values` holds (episodes) scores of each.
        protocol: every entry that one of them has, which the others share or lack.
        left_out: how many more there were than are compared.
    """

    headline: Headline
    protocol: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    left_out: int = 0

    def fits(self, test: comparison.Tested) -> bool:
        """What `metarun compare` asks: no entry that both have differs, but for the learner's."""
        free = (*comparison.FREE, *comparison.NOTED)
        shared = (k for k in test.protocol if k in self.protocol and k not in free)
        alike = test.headline == self.headline and len(test.values) == len(self.values[0])
        try:
            return alike and all(test.protocol[k] == self.protocol[k] for k in shared)
        except RecursionError:  # a stranger's, of a thousand levels
            return False


@dataclass(frozen=True, eq=False)
class Matrix:
    """Attributes:
    mean, ci95, p: (runs, runs) of the row's score minus the column's; `p` is corrected by Holm
        for all pairs, and `nan` on the diagonal.
    """

    mean: np.ndarray
    ci95: np.ndarray
    p: np.ndarray


def groups(entries: Sequence[Entry]) -> tuple[list[Group], list[str]]:
    """The runs by how they were tested, and a line for each that could not be read.

    Returns:
        Groups of two runs or more, the largest first.
    """
    found: list[Group] = []
    problems: list[str] = []
    held = 0
    for entry in (e for e in entries if e.test is not None):
        try:
            test = _read(entry)
        except Refused as refused:
            problems.append(refused.mistakes[0])
            continue
        group = next((g for g in found if g.fits(test)), None)
        if group is not None and len(group.entries) == COMPARED:
            group.left_out += 1
            continue
        if held + len(test.values) > VALUES or len(found) == GROUPS:
            problems.append(f"{entry.name} and what comes after it: too much to compare at once")
            break
        if group is None:
            found.append(group := Group(test.headline, {}))
        held += len(test.values)
        group.protocol |= test.protocol
        group.entries.append(entry)
        group.values.append(test.values)
    several = [group for group in found if len(group.entries) > 1]
    return sorted(several, key=lambda group: -len(group.entries)), problems


def matrix(values: Sequence[np.ndarray]) -> Matrix:
    """All pairs at once; each figure is that of `metarun.stats`, to the bit.

    Args:
        values: (episodes) scores of each run on the same episodes, two at least.
    """
    stacked, runs = np.stack(values), len(values)
    mean, ci95 = np.zeros((runs, runs)), np.zeros((runs, runs))
    p = np.full((runs, runs), np.nan)
    for i in range(runs - 1):
        row = (i, slice(i + 1, None))
        mean[row], ci95[row], p[row] = difference(stacked[i], stacked[i + 1 :])
    above = np.triu_indices(runs, 1)
    p[above] = holm(p[above].tolist())
    below = (above[1], above[0])
    mean[below], ci95[below], p[below] = -mean[above], ci95[above], p[above]
    return Matrix(mean, ci95, p)


def notes(group: Group) -> Iterator[str]:
    """What is the learner's own affair and differs, which a reader should know."""
    for key in comparison.NOTED:
        held = {repr(e.protocol[key]) for e in group.entries if key in e.protocol}
        if len(held) > 1:
            yield f"{key} differs between them"


def _read(entry: Entry) -> comparison.Tested:
    for name in ("result.json", "test_episodes.csv"):
        if not is_own(entry.folder, name):
            raise Refused(f"{entry.name}: {name}: not there, or not a file of the run's own")
    return comparison.read_test(entry.folder)
