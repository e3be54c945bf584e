"""A ranking as a terminal table and as CSV."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from metarun.report.entry import Entry, Stat
from metarun.report.labels import Key, distinguishing, keys
from metarun.report.ranking import FACT_KEYS, FACTS, Ranking
from metarun.report.untrusted import to_float
from metarun.runs.grid import Column, fitted
from metarun.runs.results import clock, csv_text
from metarun.tasks.headline import Headline

MAX_KEYS = 8  # varied keys shown in a terminal table
FIRST_KEY = 4  # rank of the most telling key; the other keys have the ranks that follow
MAX_NOTES = 6  # sources of published figures below it


def show(screen: Console, ranking: Ranking) -> None:
    """Print the title, the table of runs, what it leaves out, and the table over seeds."""
    screen.print(ranking.title, soft_wrap=True, markup=False)
    table, left_out = as_table(ranking, screen.width)
    screen.print(table)
    published = {e.published_note: None for e in ranking.entries if e.published not in ("", "–")}
    lines = list(published)[:MAX_NOTES]
    if len(published) > MAX_NOTES:
        lines.append(f"{len(published) - MAX_NOTES} more notes on published figures are in the CSV")
    if left_out:
        lines.append(f"also in the CSV: {', '.join(left_out)}")
    for line in lines:
        screen.print(line, soft_wrap=True, markup=False)
    if (seeds := seeds_table(ranking, screen.width)) is not None:
        screen.print(seeds)


def as_table(ranking: Ranking, width: int) -> tuple[Table, list[str]]:
    """A terminal table with one row per run, the most telling columns first.

    Args:
        width: of the terminal, in characters.

    Returns:
        The table, and the keys that are left out.
    """
    entries = ranking.entries
    tests = [figure(entry.headline, entry.test) for entry in entries]
    vals = [figure(entry.headline, entry.val) for entry in entries]
    published = [entry.published or "–" for entry in entries]
    statuses = [entry.status for entry in entries]
    steps, times = [_progress(entry) for entry in entries], [clock(e.seconds) for e in entries]
    steps_rank = FIRST_KEY + 3 if "steps" in ranking.varied else 60
    table, left_out = fitted(
        "",
        [
            *[Column("run", [entry.name for entry in entries])] * any(e.name for e in entries),
            *(key_columns := _key_columns(ranking, entries)),
            Column("test", tests, whole=True),
            *[Column("published", published, FIRST_KEY + 2, whole=True)]
            * any(e.published for e in entries),
            Column("validation", vals, 1, whole=True),
            Column("steps", steps, steps_rank, right=True, whole=True),
            Column("time", times, 61, right=True, whole=True),
            Column("status", statuses, 3 if len(set(statuses)) > 1 else 62, whole=True),
        ],
        width,
    )
    titles = {column.title for column in key_columns if column.title not in left_out}
    return table, [title for _, title, _ in _keys(ranking) if title not in titles]


def _keys(ranking: Ranking) -> list[Key]:
    """The keys and facts in which the runs differ; the number of steps always has a column."""
    return [key for key in keys(ranking) if key[0] != "steps"]


def _key_columns(ranking: Ranking, rows: Sequence[Entry], without: str = "") -> list[Column]:
    """At most `MAX_KEYS` columns of keys, the most telling first.

    These are the keys that decide whether figures are comparable, then those that distinguish the
    runs, then those that the others determine.

    Args:
        rows: a run for each row.
        without: a key that has no column.
    """
    differing = [key for key in _keys(ranking) if key[0] != without]
    of_tests = [key for fact in FACTS for key in (fact, *FACT_KEYS.get(fact, ()))]
    first = [*of_tests, *(key[0] for key in distinguishing(differing, ranking.entries))]

    def order(key: Key) -> tuple[int, int]:
        missing = sum(key[2](entry) == "–" for entry in ranking.entries)
        return first.index(key[0]) if key[0] in first else len(first), missing

    chosen = sorted(differing, key=order)[:MAX_KEYS]
    return [
        Column(title, [value(entry) for entry in rows], rank)
        for rank, (_, title, value) in enumerate(chosen, FIRST_KEY)
    ]


def seeds_table(ranking: Ranking, width: int) -> Table | None:
    """A terminal table with one row per setting that was tested under several seeds, if any.

    Args:
        width: of the terminal, in characters.
    """
    if not ranking.groups:
        return None
    firsts = [(group, group.entries[0].headline) for group in ranking.groups]
    columns = [
        *_key_columns(ranking, [group.entries[0] for group in ranking.groups], without="seed"),
        Column(
            "test ± 95 % over seeds", [figure(h, group.test) for group, h in firsts], whole=True
        ),
        Column("validation", [figure(h, group.val) for group, h in firsts], 1, whole=True),
        Column("seeds", [" ".join(map(str, group.seeds)) for group, _ in firsts], 50),
    ]
    return fitted("over seeds", columns, width)[0]


def as_csv(ranking: Ranking) -> str:
    """CSV with one row per run; percentages are written as fractions, times in seconds."""
    facts = [fact for fact in FACTS if fact not in ranking.varied]
    figures = ["score", "test", "test_ci95", "val", "val_ci95", "best_step"]
    figures += ["published", "published_note"]
    seed_columns = ["over_seeds", "over_seeds_ci95", "seeds"]
    run_columns = ["steps", "steps_done", "seed", "seconds", "error", "command"]
    run_columns = [column for column in run_columns if column not in ranking.varied]
    titles = ["run", "status", *ranking.varied, *facts, *figures, *seed_columns, *run_columns]
    rows: list[list[Any]] = [titles]
    for entry in ranking.entries:
        group = ranking.seed_group(entry)
        row = [
            entry.name,
            entry.status,
            *(ranking.value(entry, key) for key in ranking.varied),
            *(getattr(entry, fact) for fact in facts),
            entry.headline.score,
            *(entry.test or (None, None)),
            *(entry.val or (None, None)),
            entry.best_step,
            entry.published,
            entry.published_note,
            *(group.test if group else (None, None)),
            " ".join(map(str, group.seeds)) if group else None,
            *(getattr(entry, column) for column in run_columns),
        ]
        rows.append(row)
    return csv_text(map(_escape_formula, row) for row in rows)


def figure(headline: Headline, stat: Stat | None) -> str:
    """A figure as text: `98.41 ± 0.30 %` for a fraction, `0.1235 ± 0.0100` otherwise, or `–`."""
    return headline.figure(stat and stat._asdict())


def _progress(entry: Entry) -> str:
    done, steps = entry.steps_done, entry.steps
    if steps is None or done is None or done == steps:
        return "–" if steps is None else str(steps)
    return f"{done}/{steps}"


def _escape_formula(value: Any) -> Any:
    """Prefix text that a spreadsheet would run as a formula with an apostrophe."""
    is_formula = isinstance(value, str) and value[:1] in tuple("=+-@") and to_float(value) is None
    return f"'{value}" if is_formula else value
