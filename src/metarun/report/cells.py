"""The table of the page cell by cell, with the summary above it and the filters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from metarun.report.labels import keys, name, place, telling
from metarun.report.ranking import FACTS, Ranking
from metarun.report.runs import STATUSES, Entry, Stat
from metarun.report.tables import figure
from metarun.report.untrusted import spelled
from metarun.runs.results import clock
from metarun.tasks.headline import Headline

HEADLINES = 12  # most scores that the page tells the best of, and draws
FILTERS = {"status": "status", "algo": "algorithm", "data": "data", "task": "task"}


class Cell(NamedTuple):
    """A text, and what its column is sorted by: numbers, then text, then empty cells."""

    text: str
    sort: str
    kind: str = ""
    more: str = ""
    apart: int = 0  # figures that cannot be compared sort apart


def glance(ranking: Ranking, labels: Sequence[str]) -> dict[str, Any]:
    """The page in a few words: how many runs of which status, and the best of each score.

    The best of several owes a part of its figure to chance, and figures of different tests do
    not rank runs: the page says both.
    """

    def tested(fact: str) -> set[str]:
        return {getattr(entry, fact) for entry in ranking.entries if entry.test is not None}

    counts = Counter(entry.status for entry in ranking.entries)
    firsts: dict[Headline, int] = {}  # titles of equal headlines may differ: the first one's counts
    for i, entry in enumerate(ranking.entries):
        if entry.test is not None:
            firsts.setdefault(entry.headline, i)
    best = []
    for headline, i in list(firsts.items())[:HEADLINES]:
        entry = ranking.entries[i]
        said = ", ".join(filter(None, [entry.algo, entry.data, entry.task, entry.batch_norm]))
        word = f"{'highest' if headline.higher_is_better else 'lowest'} test {headline.name}"
        best.append((word, figure(headline, entry.test), labels[i], name(said), i))
    return {
        "runs": len(ranking.entries),
        "statuses": [(status, counts[status]) for status in STATUSES if counts[status]],
        "best": best,
        "several": sum(entry.test is not None for entry in ranking.entries) > 1,
        "apart": [FACTS[f] for f in ("data", "task", "batch_norm") if len(tested(f)) > 1],
        "constant": [(FACTS[f], name(v)) for f, v in ranking.constant.items()],
    }


def filters(ranking: Ranking) -> list[tuple[str, str, list[str]]]:
    """What can be chosen from: key, title, values."""
    held = {key: {name(getattr(e, key)) for e in ranking.entries} - {""} for key in FILTERS}
    return [(k, FILTERS[k], sorted(held[k])) for k in FILTERS if 1 < len(held[k]) <= 100]


def table(
    ranking: Ranking, labels: Sequence[str], reached: Sequence[int]
) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """Titles after number and name, and a row for each run, in the order of the ranking.

    Columns are what tells runs apart, figures, and the rest.

    Args:
        reached: the last step that each has noted, which `result.json` says at the end only.

    Returns:
        Each title with its class: `minor` for the rest, which paper has no room for.
    """
    differ = [key for key in keys(ranking) if key[0] != "steps"]  # which has a column anyway
    first = telling(differ, ranking.entries)
    rest = [key for key in differ if key not in first]
    over = ["over seeds"][: len(ranking.groups)]
    figures = ["test", "validation", *over, "status", "time", "steps"]
    titles = [(title, "") for title in (*(title for _, title, _ in first), *figures)]
    titles += [(title, "minor") for _, title, _ in rest]
    kinds = {headline: i for i, headline in enumerate(ranking.headlines)}
    rows = []
    for entry, label, step in zip(ranking.entries, labels, reached, strict=True):
        own = [_cell(value(entry)) for _, _, value in first]
        kind, seconds = kinds.get(entry.headline, 0), entry.seconds
        own += [_figure(entry.headline, stat, kind) for stat in (entry.test, entry.val)]
        if ranking.groups:
            group = ranking.over(entry)
            seeds = f"{len(group.seeds)} seeds" if group else ""
            own.append(_figure(entry.headline, group and group.test, kind, seeds))
        own.append(Cell(entry.status, str(STATUSES.index(entry.status)), "status", entry.error))
        own.append(Cell(clock(seconds), "" if seconds is None else repr(seconds), "number"))
        own.append(_steps(entry, step))
        own += [_cell(value(entry))._replace(kind="minor") for _, _, value in rest]
        facts = {key: name(getattr(entry, key)) for key in FILTERS}
        rows.append({"name": place(entry), "label": label, "cells": own, "facts": facts})
    return titles, rows


def _cell(text: str) -> Cell:
    value = spelled(text)
    if value is not None:
        return Cell(text, repr(value), "number")
    return Cell(text, "" if text == "–" else text)


def _figure(headline: Headline, stat: Stat | None, kind: int, more: str = "") -> Cell:
    sort = "" if stat is None else repr(stat.mean)
    return Cell(figure(headline, stat), sort, "number", more, kind)


def _steps(entry: Entry, reached: int) -> Cell:
    if entry.steps is None:
        return Cell("–", "", "number")
    done = entry.steps if entry.test is not None else max(entry.steps_done or 0, reached)
    text = f"{done:,}" if done == entry.steps else f"{done:,} of {entry.steps:,}"
    return Cell(text, str(done), "number")
