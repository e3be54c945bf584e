"""Every run against every other: paired differences where they were tested in the same way.

Runs are grouped by their protocol, and the page shows a table for each group.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metarun.errors import Refused
from metarun.report import labels
from metarun.report.comparison import FREE, NOTED
from metarun.report.ranking import Ranking
from metarun.report.runs import Entry
from metarun.report.tested import Tested, read_test
from metarun.report.untrusted import is_own, shown
from metarun.stats import Difference, difference, holm
from metarun.tasks.headline import Headline

COMPARED = 300  # runs of a group: 44,850 pairs
GROUPS = 500  # of which most hold one run: nothing to compare, and slow to look through
MATRICES, SHOWN = 12, 20  # most groups of the page, and runs of a group
VALUES = 20_000_000  # scores that are held at once, 160 MB


@dataclass(eq=False)
class Group:
    """Runs that were tested on the same frozen episodes in the same way.

    Attributes:
        entries: the runs, the best first; `values` holds (episodes) scores of each.
        protocol: every entry that one of them has, which the others share or lack.
        left_out: how many more there were than are compared.
    """

    headline: Headline
    protocol: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    left_out: int = 0

    def fits(self, test: Tested) -> bool:
        """Whether `metarun compare` would accept the test beside those of the group."""
        free = (*FREE, *NOTED)
        shared = (k for k in test.protocol if k in self.protocol and k not in free)
        alike = test.headline == self.headline and len(test.values) == len(self.values[0])
        try:
            return alike and all(test.protocol[k] == self.protocol[k] for k in shared)
        except RecursionError:  # a hostile one, of a thousand levels
            return False


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
            test = _read_own(entry)
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


def matrix(values: Sequence[np.ndarray]) -> Difference:
    """All pairs at once; each figure is that of `metarun.stats`, to the bit.

    Args:
        values: (episodes) scores of each run on the same episodes, two at least.

    Returns:
        (runs, runs) of the row's score minus the column's; `p` is corrected by Holm for all pairs,
        and `nan` on the diagonal.
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
    return Difference(mean, ci95, p)


def _read_own(entry: Entry) -> Tested:
    for name in ("result.json", "test_episodes.csv"):
        if not is_own(entry.folder, name):
            raise Refused(f"{entry.name}: {name}: not there, or not a file of the run's own")
    return read_test(entry.folder)


def notes(group: Group) -> Iterator[str]:
    """A line for each entry that two runs may differ in, which a reader should know."""
    for key in NOTED:
        held = {repr(e.protocol[key]) for e in group.entries if key in e.protocol}
        if len(held) > 1:
            yield f"{key} differs between them"


def tables(ranking: Ranking) -> tuple[list[dict[str, Any]], list[str]]:
    """The largest groups as tables, and a line for each run or group that is not among them."""
    found, unread = groups(ranking.entries)
    if len(found) > MATRICES:
        unread.append(f"{len(found) - MATRICES} smaller groups of runs are not shown here")
    made = [_table(ranking, group, matrix(group.values)) for group in found[:MATRICES]]
    return made, [labels.one_line(line) for line in unread]


def _table(ranking: Ranking, group: Group, found: Difference) -> dict[str, Any]:
    """A group's differences as a table of its best runs: what each cell shows and says."""
    number = {id(entry): i for i, entry in enumerate(ranking.entries)}
    best = [number[id(entry)] for entry in group.entries[:SHOWN]]
    called = dict(zip(best, labels.run_labels(ranking, group.entries), strict=False))
    headline = group.headline
    percent, factor, digits = headline.percent, headline.factor, headline.digits
    lines = []
    for a, row in enumerate(best):
        line: list[dict[str, Any] | None] = []
        for b, column in enumerate(best):
            if a == b:
                line.append(None)
                continue
            mean, ci95 = factor * found.mean[a, b], factor * found.ci95[a, b]
            p, ahead = found.p[a, b], (mean > 0) == headline.higher_is_better
            apart = bool(p < 0.05)
            winner = row if ahead else column
            verdict = f"{called[winner]} (#{winner + 1}) is better" if apart else "not told apart"
            said = f"#{row + 1} {called[row]} − #{column + 1} {called[column]}: "
            said += f"{_signed(mean, digits)} ± {ci95:.{digits}f}{headline.unit}, "
            said += f"p = {p:.2g}: {verdict}"
            level = 3 if abs(mean) >= 5 else 2 if abs(mean) >= 1.5 else 1
            kind = f"{'better' if ahead else 'worse'} level{level if percent else 2}"
            text = _signed(mean, 1 if percent else 3)
            line.append({"text": text, "said": said, "kind": kind if apart else "same"})
        lines.append({"number": row + 1, "label": called[row], "cells": line})
    pairs = len(group.entries) * (len(group.entries) - 1) // 2
    said = [
        f"{headline.score} of the row minus that of the column"
        + (", in points" if percent else "")
        + ("" if headline.higher_is_better else "; less is better"),
        "paired t-test over episodes"
        + (f", p corrected for all {pairs:,} pairs (Holm)" if pairs > 1 else ""),
        "a training with another seed is not in it",
    ]
    if len(best) < len(group.entries):
        said.append(f"the {len(best)} best of {len(group.entries)} are shown")
    if group.left_out:
        said.append(f"{group.left_out} more were not compared")
    p, task = group.protocol, group.entries[0].task or "–"
    title = (
        f"{len(group.entries)} runs on {p['episodes']:,} episodes of {shown(p['data'])} "
        f"{shown(p['split'])}, {task}, {shown(p['batch_norm'])} batch norm"
    )
    return {"title": title, "lines": lines, "notes": [*said, *notes(group)]}


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return ("+" if value > 0 else "−") * (float(text) > 0) + text
