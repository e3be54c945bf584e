"""A ranking as a terminal table and as CSV."""

from __future__ import annotations

from typing import Any

from rich.table import Table
from rich.text import Text

from metarun.report.ranking import FACT_KEYS, FACTS, Ranking
from metarun.report.runs import Entry, Stat
from metarun.report.untrusted import to_float
from metarun.runs.results import clock, csv_text, grid
from metarun.tasks.headline import Headline

MAX_KEYS = 8  # varied keys shown in a terminal table
MAX_NOTES = 6  # sources of published figures below it


def as_table(ranking: Ranking) -> Table:
    """A terminal table with one row per run."""
    has_names = any(entry.name for entry in ranking.entries)
    keys = _main_keys(ranking)
    titles = ["run"] if has_names else []
    titles += [*keys, *(FACTS[fact] for fact in ranking.differing), "test"]
    notes = list(
        dict.fromkeys(e.published_note for e in ranking.entries if e.published not in ("", "–"))
    )
    has_published = any(entry.published for entry in ranking.entries)
    titles += ["published"] * has_published + ["validation"]
    table = grid(ranking.shared, *titles)
    table.add_column("steps", justify="right")
    table.add_column("time", justify="right")
    table.add_column("status")
    for entry in ranking.entries:
        cells = [
            *([entry.name] if has_names else []),
            *(ranking.value(entry, key) for key in keys),
            *(getattr(entry, fact) or "–" for fact in ranking.differing),
            figure(entry.headline, entry.test),
            *[entry.published or "–"] * has_published,
            figure(entry.headline, entry.val),
            _progress(entry),
            clock(entry.seconds),
            entry.status,
        ]
        table.add_row(*map(Text, cells))
    captions = notes[:MAX_NOTES]
    if len(ranking.varied) > len(keys):
        omitted = ", ".join(key for key in ranking.varied if key not in keys)
        captions.append(f"also in the CSV: {omitted}")
    table.caption = Text("\n".join(captions)) if captions else None
    table.caption_justify = "left"
    return table


def _main_keys(ranking: Ranking) -> list[str]:
    """At most `MAX_KEYS` of the varied keys, in their order.

    Keys that decide whether figures are comparable are preferred, then keys that most runs have.
    """
    facts = {*FACTS, *(key for keys in FACT_KEYS.values() for key in keys)}

    def priority(key: str) -> tuple[bool, int]:
        return key in facts, sum(ranking.value(entry, key) != "–" for entry in ranking.entries)

    selected = sorted(ranking.varied, key=priority, reverse=True)[:MAX_KEYS]
    return [key for key in ranking.varied if key in selected]


def seeds_table(ranking: Ranking) -> Table | None:
    """A terminal table with one row per setting that was tested under several seeds, if any."""
    if not ranking.groups:
        return None
    keys = [key for key in _main_keys(ranking) if key != "seed"]
    facts = [FACTS[fact] for fact in ranking.differing]
    table = grid("over seeds", *keys, *facts, "test ± 95 % over seeds", "validation", "seeds")
    for group in ranking.groups:
        first = group.entries[0]
        cells = [
            *(ranking.value(first, key) for key in keys),
            *(getattr(first, fact) or "–" for fact in ranking.differing),
            figure(first.headline, group.test),
            figure(first.headline, group.val),
            " ".join(map(str, group.seeds)),
        ]
        table.add_row(*map(Text, cells))
    return table


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
