"""Words and figures of the page: columns, labels, filters, what is said of two runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from metarun import compare
from metarun.errors import printable
from metarun.report.matrix import Group, Matrix, notes
from metarun.report.ranking import FACTS, Ranking, figure
from metarun.report.runs import STATUSES, Entry, Stat
from metarun.results import clock

ITSELF = ("algo", "data", "backbone", "optimizer", "augmentation", "experiment")  # a value says all
FILTERS = {"status": "status", "algo": "algorithm", "data": "data", "task": "task"}
Key = tuple[str, str, Callable[[Entry], str]]  # of a run's settings: key, title, a run's value
COLOURS = 14  # most values of a key that runs are coloured by


class Cell(NamedTuple):
    """Text, and what it is sorted by: a number as such, text as text, nothing last."""

    text: str
    sort: str
    kind: str = ""
    more: str = ""
    apart: str = ""  # figures that cannot be compared sort apart


def name(text: str) -> str:
    """A path or a value on one line."""
    return printable(text, 200)


def keys(ranking: Ranking) -> list[Key]:
    """In what the runs differ."""
    typed = [(k, name(k), lambda e, k=k: ranking.value(e, k)) for k in ranking.varied]
    facts = [(f, FACTS[f], lambda e, f=f: getattr(e, f) or "–") for f in ranking.differing]
    return [(k, title, lambda e, v=value: printable(v(e), 80)) for k, title, value in typed + facts]


def labels(ranking: Ranking, among: Sequence[Entry] | None = None) -> list[str]:
    """A short name for each run, of what tells it from the others; each name once.

    Args:
        among: those that are to be told apart; by default all.
    """
    entries = ranking.entries if among is None else among
    telling = _telling(keys(ranking), entries)
    found = [_label(entry, telling) for entry in entries]
    counts = Counter(found)
    return [
        label if label and counts[label] == 1 else " ".join(filter(None, [label, _place(entry)]))
        for label, entry in zip(found, entries, strict=True)
    ]


def labels_over_seeds(ranking: Ranking) -> list[str]:
    """A short name for each of `ranking.groups`, whose runs differ in their seed alone."""
    telling = _telling([key for key in keys(ranking) if key[0] != "seed"], ranking.entries)
    firsts = [group.entries[0] for group in ranking.groups]
    return [_label(first, telling) or name(first.algo) or _place(first) for first in firsts]


def _telling(differ: Sequence[Key], entries: Sequence[Entry]) -> list[Key]:
    """The keys without those that tell nothing beyond the keys before them."""
    ordered = sorted(differ, key=lambda key: (key[0] == "seed", key[0] not in ITSELF))
    kept: list[Key] = []
    told = [()] * len(entries)
    for key in ordered:
        more = [(*t, key[2](entry)) for t, entry in zip(told, entries, strict=True)]
        if len(set(more)) > len(set(told)):
            kept, told = [*kept, key], more
    return kept


def _label(entry: Entry, telling: Sequence[Key]) -> str:
    parts = []
    for key, title, value in telling:
        text = value(entry)
        if text != "–":
            short = key in ITSELF or key in FACTS
            parts.append(text if short else f"{title.rpartition('.')[2]} {text}")
    return printable(" · ".join(parts), 100)


def _place(entry: Entry) -> str:
    text = entry.name or str(entry.folder)
    return printable(text if len(text) <= 60 else f"…{text[-59:]}", 60)


def glance(ranking: Ranking, labels: Sequence[str]) -> dict[str, Any]:
    """The page in a few words: how many runs of which status, and the best of each score."""
    counts = Counter(entry.status for entry in ranking.entries)
    best = []
    for score, word in (("accuracy", "best accuracy"), ("mse", "lowest mean squared error")):
        for i, entry in enumerate(ranking.entries):
            if entry.score == score and entry.test is not None:
                facts = [entry.algo, entry.data, entry.task, entry.batch_norm]
                said = ", ".join(filter(None, facts))
                best.append((word, figure(score, entry.test), labels[i], name(said), i))
                break
    return {
        "runs": len(ranking.entries),
        "statuses": [(status, counts[status]) for status in STATUSES if counts[status]],
        "best": best,
        "constant": [(FACTS[f], name(v)) for f, v in ranking.constant.items()],
    }


def columns(ranking: Ranking) -> list[tuple[str, str]]:
    """Titles of the table after number and name: what tells runs apart, figures, the rest.

    Returns:
        Each with its class: `minor` for the rest, which paper has no room for.
    """
    first, rest = _columns(ranking)
    over = ["over seeds"][: len(ranking.groups)]
    figures = ["test", "validation", *over, "status", "time", "steps"]
    titles = [*(title for _, title, _ in first), *figures]
    return [*((title, "") for title in titles), *((title, "minor") for _, title, _ in rest)]


def _columns(ranking: Ranking) -> tuple[list[Key], list[Key]]:
    differ = [key for key in keys(ranking) if key[0] != "steps"]  # which has a column anyway
    first = _telling(differ, ranking.entries)
    return first, [key for key in differ if key not in first]


def filters(ranking: Ranking) -> list[tuple[str, str, list[str]]]:
    """What can be chosen from: key, title, values."""
    found = []
    for key, title in FILTERS.items():
        values = sorted({name(getattr(entry, key)) for entry in ranking.entries} - {""})
        if 1 < len(values) <= 100:
            found.append((key, title, values))
    return found


def grouping(ranking: Ranking) -> list[tuple[str, Callable[[Entry], str]]]:
    """Keys that runs can be coloured by: a few values, and more than one."""
    found = []
    for key, title, value in keys(ranking):
        values = {value(entry) for entry in ranking.entries}
        if 1 < len(values) <= COLOURS:
            place = ITSELF.index(key) if key in ITSELF else len(ITSELF) + (key == "seed")
            found.append((place, title, value))
    return [(title, value) for _, title, value in sorted(found, key=lambda f: f[0])]


def rows(ranking: Ranking, labels: Sequence[str], reached: Sequence[int]) -> list[dict[str, Any]]:
    """A row for each run, in the order of the ranking.

    Args:
        reached: the last step that each has noted, which `result.json` says at the end only.
    """
    first, rest = _columns(ranking)
    made = []
    for entry, label, step in zip(ranking.entries, labels, reached, strict=True):
        own = [_cell(value(entry)) for _, _, value in first]
        own.append(_figure(entry.score, entry.test))
        own.append(_figure(entry.score, entry.val))
        if ranking.groups:
            over = ranking.over(entry)
            seeds = f"{len(over.seeds)} seeds" if over else ""
            own.append(_figure(entry.score, over.test if over else None, seeds))
        own.append(Cell(entry.status, str(STATUSES.index(entry.status)), "status", entry.error))
        seconds = entry.seconds
        own.append(Cell(clock(seconds), "" if seconds is None else repr(seconds), "number"))
        own.append(_steps(entry, step))
        own += [_cell(value(entry))._replace(kind="minor") for _, _, value in rest]
        facts = {key: name(getattr(entry, key)) for key in FILTERS}
        made.append({"name": _place(entry), "label": label, "cells": own, "facts": facts})
    return made


def matrix(ranking: Ranking, group: Group, found: Matrix, most: int) -> dict[str, Any]:
    """A group's differences as a table of its best runs: what each cell shows and says."""
    number = {id(entry): i for i, entry in enumerate(ranking.entries)}
    shown = [number[id(entry)] for entry in group.entries[:most]]
    called = dict(zip(shown, labels(ranking, group.entries), strict=False))
    percent = group.score == "accuracy"
    factor, digits, unit = (100, 2, " points") if percent else (1, 4, "")
    lines = []
    for a, row in enumerate(shown):
        line: list[dict[str, Any] | None] = []
        for b, column in enumerate(shown):
            if a == b:
                line.append(None)
                continue
            mean, ci95 = factor * found.mean[a, b], factor * found.ci95[a, b]
            p, ahead = found.p[a, b], (mean > 0) == percent
            apart = bool(p < 0.05)
            winner = row if ahead else column
            verdict = f"{called[winner]} (#{winner + 1}) is better" if apart else "not told apart"
            said = f"#{row + 1} {called[row]} − #{column + 1} {called[column]}: "
            said += f"{_signed(mean, digits)} ± {ci95:.{digits}f}{unit}, p = {p:.2g}: {verdict}"
            level = 3 if abs(mean) >= 5 else 2 if abs(mean) >= 1.5 else 1
            kind = f"{'better' if ahead else 'worse'} level{level if percent else 2}"
            text = _signed(mean, 1 if percent else 3)
            line.append({"text": text, "said": said, "kind": kind if apart else "same"})
        lines.append({"number": row + 1, "label": called[row], "cells": line})
    pairs = len(group.entries) * (len(group.entries) - 1) // 2
    said = [
        f"{group.score} of the row minus that of the column"
        + (", in points" if percent else "; less is better"),
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
    ways, shots = p["ways"], p["shots"]
    task = f"{compare.shown(shots)}-shot"
    task = task if ways == 1 else f"{compare.shown(ways)}-way {task}"
    return (
        f"{len(group.entries)} runs on {p['episodes']:,} episodes of {compare.shown(p['data'])} "
        f"{compare.shown(p['split'])}, {task}, {compare.shown(p['batch_norm'])} batch norm"
    )


def _cell(text: str) -> Cell:
    try:
        return Cell(text, repr(float(text)), "number")
    except ValueError:
        return Cell(text, "" if text == "–" else text)


def _figure(score: str, stat: Stat | None, more: str = "") -> Cell:
    sort = "" if stat is None else repr(stat.mean)
    return Cell(figure(score, stat), sort, "number", more, "" if score == "accuracy" else score)


def _steps(entry: Entry, reached: int) -> Cell:
    if entry.steps is None:
        return Cell("–", "", "number")
    done = entry.steps if entry.test is not None else max(entry.steps_done or 0, reached)
    text = f"{done:,}" if done == entry.steps else f"{done:,} of {entry.steps:,}"
    return Cell(text, str(done), "number")
