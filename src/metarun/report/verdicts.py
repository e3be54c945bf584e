"""What a matrix of paired differences shows in each cell, and says of it in words."""

from __future__ import annotations

from typing import Any

from metarun.report import comparison, labels
from metarun.report.matrix import Group, Matrix, notes
from metarun.report.ranking import Ranking


def table(ranking: Ranking, group: Group, found: Matrix, most: int) -> dict[str, Any]:
    """A group's differences as a table of its best runs: what each cell shows and says."""
    number = {id(entry): i for i, entry in enumerate(ranking.entries)}
    shown = [number[id(entry)] for entry in group.entries[:most]]
    called = dict(zip(shown, labels.of(ranking, group.entries), strict=False))
    headline = group.headline
    percent, factor, digits = headline.percent, headline.factor, headline.digits
    lines = []
    for a, row in enumerate(shown):
        line: list[dict[str, Any] | None] = []
        for b, column in enumerate(shown):
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
    if len(shown) < len(group.entries):
        said.append(f"the {len(shown)} best of {len(group.entries)} are shown")
    if group.left_out:
        said.append(f"{group.left_out} more were not compared")
    return {"title": _tested(group), "lines": lines, "notes": [*said, *notes(group)]}


def _signed(value: float, digits: int) -> str:
    text = f"{abs(value):.{digits}f}"
    return ("+" if value > 0 else "−") * (float(text) > 0) + text


def _tested(group: Group) -> str:
    p = group.protocol
    task = group.entries[0].task or "–"
    return (
        f"{len(group.entries)} runs on {p['episodes']:,} episodes of {comparison.shown(p['data'])} "
        f"{comparison.shown(p['split'])}, {task}, {comparison.shown(p['batch_norm'])} batch norm"
    )
