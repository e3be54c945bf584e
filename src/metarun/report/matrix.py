"""Paired differences between all runs that were tested by the same protocol, as tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from metarun.errors import Refused
from metarun.report import labels
from metarun.report.comparison import FREE, NOTED
from metarun.report.entry import Entry
from metarun.report.ranking import Ranking
from metarun.report.tested import Tested, read_test
from metarun.report.untrusted import is_own, shown
from metarun.runs.results import data_name
from metarun.stats import Difference, difference, holm
from metarun.tasks.headline import Headline

MAX_RUNS = 300  # compared in a group: 44,850 pairs
MAX_GROUPS = 500  # finding the group of a run takes time linear in their number
MAX_TABLES, MAX_ROWS = 12, 20  # on the page
MAX_SCORES = 20_000_000  # in memory: 160 MB


@dataclass(eq=False)
class Group:
    """Runs that were tested on the same frozen episodes by the same protocol.

    Attributes:
        protocol: the union of the runs' protocols.
        entries: the runs, the best first.
        values: (episodes) scores of each run.
        left_out: number of runs beyond `MAX_RUNS`.
    """

    headline: Headline
    protocol: dict[str, Any]
    entries: list[Entry] = field(default_factory=list)
    values: list[np.ndarray] = field(default_factory=list)
    left_out: int = 0

    def fits(self, test: Tested) -> bool:
        """Whether `metarun compare` would accept the test together with those of the group."""
        may_differ = (*FREE, *NOTED)
        keys = (k for k in test.protocol if k in self.protocol and k not in may_differ)
        same_test = test.headline == self.headline and len(test.values) == len(self.values[0])
        try:
            return same_test and all(test.protocol[k] == self.protocol[k] for k in keys)
        except RecursionError:  # a hostile protocol with a thousand levels
            return False


def groups(entries: Sequence[Entry]) -> tuple[list[Group], list[str]]:
    """Group runs by the protocol of their test.

    Returns:
        Groups of two runs or more, the largest first; and a line for each run that could not be
        read.
    """
    all_groups: list[Group] = []
    problems: list[str] = []
    scores = 0
    for entry in (e for e in entries if e.test is not None):
        try:
            test = _read_own_test(entry)
        except Refused as refused:
            problems.append(refused.mistakes[0])
            continue
        group = next((g for g in all_groups if g.fits(test)), None)
        if group is not None and len(group.entries) == MAX_RUNS:
            group.left_out += 1
            continue
        if scores + len(test.values) > MAX_SCORES or len(all_groups) == MAX_GROUPS:
            problems.append(f"{entry.name} and all runs after it: too many runs to compare at once")
            break
        if group is None:
            all_groups.append(group := Group(test.headline, {}))
        scores += len(test.values)
        group.protocol |= test.protocol
        group.entries.append(entry)
        group.values.append(test.values)
    comparable = [group for group in all_groups if len(group.entries) > 1]
    return sorted(comparable, key=lambda group: -len(group.entries)), problems


def matrix(values: Sequence[np.ndarray]) -> Difference:
    """Paired differences of all pairs, bitwise equal to those of `metarun.stats`.

    Args:
        values: (episodes) scores of each run on the same episodes; at least two runs.

    Returns:
        (runs, runs) score of the row minus that of the column. `p` has Holm's correction for all
        pairs, and is `nan` on the diagonal.
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


def _read_own_test(entry: Entry) -> Tested:
    for name in ("result.json", "test_episodes.csv"):
        if not is_own(entry.folder, name):
            raise Refused(f"{entry.name}: {name}: missing, or not a regular file")
    return read_test(entry.folder)


def notes(group: Group) -> Iterator[str]:
    """A line for each entry of the protocol that may and does differ between the runs."""
    for key in NOTED:
        values = {repr(e.protocol[key]) for e in group.entries if key in e.protocol}
        if len(values) > 1:
            yield f"{key} differs between these runs"


def tables(ranking: Ranking) -> tuple[list[dict[str, Any]], list[str]]:
    """The largest groups as tables, and a line for each problem or omission."""
    all_groups, problems = groups(ranking.entries)
    if len(all_groups) > MAX_TABLES:
        problems.append(f"{len(all_groups) - MAX_TABLES} smaller groups of runs are not shown here")
    shown_tables = [_table(ranking, g, matrix(g.values)) for g in all_groups[:MAX_TABLES]]
    return shown_tables, [labels.one_line(line) for line in problems]


def _table(ranking: Ranking, group: Group, differences: Difference) -> dict[str, Any]:
    """A table of the best runs of a group: text, description and CSS class of each cell."""
    number = {id(entry): i for i, entry in enumerate(ranking.entries)}
    best = [number[id(entry)] for entry in group.entries[:MAX_ROWS]]
    label = dict(zip(best, labels.run_labels(ranking, group.entries), strict=False))
    headline = group.headline
    percent, factor, digits = headline.percent, headline.factor, headline.digits
    lines = []
    for a, row in enumerate(best):
        line: list[dict[str, Any] | None] = []
        for b, column in enumerate(best):
            if a == b:
                line.append(None)
                continue
            mean, ci95 = factor * differences.mean[a, b], factor * differences.ci95[a, b]
            p, row_is_better = differences.p[a, b], (mean > 0) == headline.higher_is_better
            significant = bool(p < 0.05)
            winner = row if row_is_better else column
            verdict = f"{label[winner]} (#{winner + 1}) is better"
            verdict = verdict if significant else "not significant"
            description = f"#{row + 1} {label[row]} − #{column + 1} {label[column]}: "
            description += f"{_signed(mean, digits)} ± {ci95:.{digits}f}{headline.unit}, "
            description += f"p = {p:.2g}: {verdict}"
            level = 3 if abs(mean) >= 5 else 2 if abs(mean) >= 1.5 else 1
            kind = f"{'better' if row_is_better else 'worse'} level{level if percent else 2}"
            kind = kind if significant else "same"
            text = _signed(mean, 1 if percent else 3)
            line.append({"text": text, "description": description, "kind": kind})
        lines.append({"number": row + 1, "label": label[row], "cells": line})
    pairs = len(group.entries) * (len(group.entries) - 1) // 2
    remarks = [
        f"{headline.score} of the row minus {headline.score} of the column"
        + (", in percentage points" if percent else "")
        + ("" if headline.higher_is_better else "; lower is better"),
        "paired t-test over test episodes"
        + (f", p corrected for all {pairs:,} pairs (Holm)" if pairs > 1 else ""),
        "variation between training seeds is not included",
    ]
    if len(best) < len(group.entries):
        remarks.append(f"the {len(best)} best of {len(group.entries)} runs are shown")
    if group.left_out:
        remarks.append(f"{group.left_out} more runs were not compared")
    p, task = group.protocol, group.entries[0].task or "–"
    title = (
        f"{len(group.entries)} runs on {p['episodes']:,} episodes of {shown(data_name(p))} "
        f"{shown(p['split'])}, {task}, {shown(p['batch_norm'])} batch norm"
    )
    return {"title": title, "lines": lines, "notes": [*remarks, *notes(group)]}


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return ("+" if value > 0 else "−") * (float(text) > 0) + text
