"""The summary, the filters and the table of runs of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

from metarun.report.entry import STATUSES, Entry, Stat, Task
from metarun.report.labels import distinguishing, keys, one_line, path_end
from metarun.report.ranking import FACTS, Ranking
from metarun.report.tables import figure
from metarun.report.untrusted import to_float
from metarun.runs.results import clock
from metarun.tasks.headline import Headline

MAX_HEADLINES = 12  # tasks that the page summarises, and scores that it plots
FILTERS = {"status": "status", "algo": "algorithm", "data": "data", "task": "task"}


class Cell(NamedTuple):
    """A cell of the table of runs.

    Attributes:
        text: what the cell shows.
        sort: the sort value: numbers first, then text, then empty ones.
        kind: CSS class.
        note: small text after `text`.
        score_index: cells of different scores are sorted separately.
    """

    text: str
    sort: str
    kind: str = ""
    note: str = ""
    score_index: int = 0


def glance(ranking: Ranking, labels: Sequence[str]) -> dict[str, Any]:
    """The summary of the page: the number of runs by status, and the best run of each task.

    `by_chance` and `batch_norms` are for two warnings: the test figure of the best of several runs
    by test is too high, and the two kinds of batch norm are not comparable.
    """
    counts = Counter(entry.status for entry in ranking.entries)
    firsts: dict[Task, int] = {}
    runs_of: Counter[Task] = Counter()
    norms: dict[Task, set[str]] = {}
    for i, entry in enumerate(ranking.entries):
        if entry.test is not None:
            firsts.setdefault(entry.tested_on, i)
            runs_of[entry.tested_on] += 1
            norms.setdefault(entry.tested_on, set()).add(entry.batch_norm)
    best = []
    for task, i in list(firsts.items())[:MAX_HEADLINES]:
        entry, name = ranking.entries[i], task.headline.name
        facts = ", ".join(filter(None, [entry.algo, entry.data, entry.task, entry.batch_norm]))
        title = f"{'highest' if task.headline.higher_is_better else 'lowest'} test {name}"
        if runs_of[task] == 1:
            title = f"test {name}"
        elif ranking.by_validation[task]:
            title = f"test {name} of the best run by validation"
        best.append((title, figure(task.headline, entry.test), labels[i], one_line(facts), i))
    return {
        "runs": len(ranking.entries),
        "statuses": [(status, counts[status]) for status in STATUSES if counts[status]],
        "best": best,
        "more": len(firsts) - len(best),
        "criterion": ranking.criterion,
        "by_chance": any(n > 1 and not ranking.by_validation[task] for task, n in runs_of.items()),
        "batch_norms": any(len(kinds) > 1 for kinds in norms.values()),
        "constant": [(FACTS[f], one_line(v)) for f, v in ranking.constant.items()],
    }


def filters(ranking: Ranking) -> list[tuple[str, str, list[str]]]:
    """The filters of the table: key, title and values."""
    values = {key: {one_line(getattr(e, key)) for e in ranking.entries} - {""} for key in FILTERS}
    return [(k, FILTERS[k], sorted(values[k])) for k in FILTERS if 1 < len(values[k]) <= 100]


def table(
    ranking: Ranking, labels: Sequence[str], reached: Sequence[int]
) -> tuple[list[tuple[str, str]], list[dict[str, Any]]]:
    """The table of runs: titles of the columns after number and name, and a row for each run.

    The columns are the figures, the keys that distinguish the runs, then the redundant keys.

    Args:
        reached: the last step in the curves of each run; `result.json` has it only at the end.

    Returns:
        Pairs of title and CSS class (`minor` for redundant keys, which are not printed on paper),
        and the rows in the order of the ranking.
    """
    differing = [key for key in keys(ranking) if key[0] != "steps"]  # steps always has a column
    main_keys = distinguishing(differing, ranking.entries)
    minor_keys = [key for key in differing if key not in main_keys]
    seeds_title = ["over seeds"] if ranking.groups else []
    has_published = any(entry.published for entry in ranking.entries)
    figure_titles = ["test", *["published"] * has_published, "validation", *seeds_title]
    titles = [(title, "") for title in figure_titles]
    titles += [(title, "") for _, title, _ in main_keys]
    titles += [(title, "") for title in ("status", "time", "steps")]
    titles += [(title, "minor") for _, title, _ in minor_keys]
    indices = {headline: i for i, headline in enumerate(ranking.headlines)}
    rows = []
    for entry, label, step in zip(ranking.entries, labels, reached, strict=True):
        index, seconds = indices.get(entry.headline, 0), entry.seconds
        cells = [_figure(entry.headline, entry.test, index)]
        if has_published:
            cells.append(_published(entry, index))
        cells.append(_figure(entry.headline, entry.val, index))
        if ranking.groups:
            group = ranking.seed_group(entry)
            seeds = f"{len(group.seeds)} seeds" if group else ""
            cells.append(_figure(entry.headline, group and group.test, index, seeds))
        cells += [_cell(value(entry)) for _, _, value in main_keys]
        cells.append(Cell(entry.status, str(STATUSES.index(entry.status)), "status", entry.error))
        cells.append(Cell(clock(seconds), "" if seconds is None else repr(seconds), "number"))
        cells.append(_steps(entry, step))
        cells += [_cell(value(entry))._replace(kind="minor") for _, _, value in minor_keys]
        facts = {key: one_line(getattr(entry, key)) for key in FILTERS}
        rows.append({"name": path_end(entry), "label": label, "cells": cells, "facts": facts})
    return titles, rows


def _cell(text: str) -> Cell:
    value = to_float(text)
    if value is not None:
        return Cell(text, repr(value), "number")
    return Cell(text, "" if text == "–" else text)


def _figure(headline: Headline, stat: Stat | None, score_index: int, note: str = "") -> Cell:
    sort = "" if stat is None else repr(stat.mean)
    return Cell(figure(headline, stat), sort, "number", note, score_index)


def _published(entry: Entry, score_index: int) -> Cell:
    first = to_float(entry.published.partition(" ")[0])
    note = one_line(entry.published_note)
    return Cell(
        entry.published, "" if first is None else repr(first), "published", note, score_index
    )


def _steps(entry: Entry, reached: int) -> Cell:
    if entry.steps is None:
        return Cell("–", "", "number")
    done = entry.steps if entry.test is not None else max(entry.steps_done or 0, reached)
    text = f"{done:,}" if done == entry.steps else f"{done:,} of {entry.steps:,}"
    return Cell(text, str(done), "number")
