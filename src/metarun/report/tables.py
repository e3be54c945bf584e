"""A ranking on a terminal, and as CSV."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from metarun.report.ranking import FACTS, TOLD_BY, Ranking
from metarun.report.runs import Entry, Stat
from metarun.report.untrusted import spelled
from metarun.runs.results import clock, csv_text, grid
from metarun.tasks.headline import Headline

COLUMNS = 8  # most varied keys on a screen


def as_table(ranking: Ranking) -> Table:
    """A line for each run."""
    named = any(entry.name for entry in ranking.entries)
    keys = _most_held(ranking)
    columns = [*keys, *(FACTS[fact] for fact in ranking.differing)]
    made = grid(ranking.shared, *["run"][: int(named)], *columns, "test", "validation")
    made.add_column("steps", justify="right")
    made.add_column("time", justify="right")
    made.add_column("status")
    for entry in ranking.entries:
        cells = [
            *[entry.name][: int(named)],
            *(ranking.value(entry, key) for key in keys),
            *(getattr(entry, fact) or "–" for fact in ranking.differing),
            figure(entry.headline, entry.test),
            figure(entry.headline, entry.val),
            _progress(entry),
            clock(entry.seconds),
            entry.status,
        ]
        made.add_row(*map(Text, cells))
    if len(ranking.varied) > len(keys):
        more = ", ".join(key for key in ranking.varied if key not in keys)
        made.caption = Text(f"in the CSV also: {more}")
        made.caption_justify = "left"
    return made


def _most_held(ranking: Ranking) -> list[str]:
    """The varied keys; of many, those that a terminal has room for.

    First those without which figures cannot be compared, then those that most runs have.
    """
    facts = {*FACTS, *(key for keys in TOLD_BY.values() for key in keys)}

    def weight(key: str) -> tuple[bool, int]:
        return key in facts, sum(ranking.value(entry, key) != "–" for entry in ranking.entries)

    most = sorted(ranking.varied, key=weight, reverse=True)[:COLUMNS]
    return [key for key in ranking.varied if key in most]


def seeds_table(ranking: Ranking) -> Table | None:
    """A line for each setting that finished under several seeds; `None` where there is none."""
    if not ranking.groups:
        return None
    columns = [key for key in _most_held(ranking) if key != "seed"]
    facts = [FACTS[fact] for fact in ranking.differing]
    made = grid("over seeds", *columns, *facts, "test ± 95 % over seeds", "validation", "seeds")
    for group in ranking.groups:
        first = group.entries[0]
        cells = [
            *(ranking.value(first, key) for key in columns),
            *(getattr(first, fact) or "–" for fact in ranking.differing),
            figure(first.headline, group.test),
            figure(first.headline, group.val),
            " ".join(map(str, group.seeds)),
        ]
        made.add_row(*map(Text, cells))
    return made


def as_csv(ranking: Ranking) -> str:
    """A row for each run; figures as fractions, times in seconds."""
    facts = [fact for fact in FACTS if fact not in ranking.varied]
    figures = ["score", "test", "test_ci95", "val", "val_ci95", "best_step"]
    over = ["over_seeds", "over_seeds_ci95", "seeds"]
    known = ["steps", "steps_done", "seed", "seconds", "error", "command"]
    known = [column for column in known if column not in ranking.varied]
    titles = ["run", "status", *ranking.varied, *facts, *figures, *over, *known]
    rows: list[list[Any]] = [titles]
    for entry in ranking.entries:
        group = ranking.over(entry)
        cells = [
            *(entry.name, entry.status),
            *(ranking.value(entry, key) for key in ranking.varied),
            *(getattr(entry, fact) for fact in facts),
            *(entry.headline.score, *(entry.test or (None, None)), *(entry.val or (None, None))),
            entry.best_step,
            *(group.test if group else (None, None)),
            " ".join(map(str, group.seeds)) if group else None,
            *(getattr(entry, column) for column in known),
        ]
        rows.append(cells)
    return csv_text(map(_unarmed, row) for row in rows)


def figure(headline: Headline, stat: Stat | None) -> str:
    """`98.41 ± 0.30 %`, what is no fraction as it is, or `–`."""
    return headline.figure(stat and stat._asdict())


def _progress(entry: Entry) -> str:
    done, steps = entry.steps_done, entry.steps
    if steps is None or done is None or done == steps:
        return "–" if steps is None else str(steps)
    return f"{done}/{steps}"


def _unarmed(value: Any) -> Any:
    """A spreadsheet takes text that begins like a formula for one, and runs it."""
    formula = isinstance(value, str) and value[:1] in tuple("=+-@") and spelled(value) is None
    return f"'{value}" if formula else value
