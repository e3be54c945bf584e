"""The keys in which runs differ, and short names for runs made of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from metarun.errors import printable
from metarun.report.ranking import FACTS, Ranking
from metarun.report.runs import Entry

ITSELF = ("algo", "data", "backbone", "optimizer", "augmentation", "experiment")  # a value says all
Key = tuple[str, str, Callable[[Entry], str]]  # of a run's settings: key, title, a run's value
COLOURS = 14  # most values of a key that runs are coloured by


def keys(ranking: Ranking) -> list[Key]:
    """The keys in which the runs differ, and the facts that no key tells."""
    typed = [(k, name(k), lambda e, k=k: ranking.value(e, k)) for k in ranking.varied]
    facts = [(f, FACTS[f], lambda e, f=f: getattr(e, f) or "–") for f in ranking.differing]
    return [(k, title, lambda e, v=value: printable(v(e), 80)) for k, title, value in typed + facts]


def of(ranking: Ranking, among: Sequence[Entry] | None = None) -> list[str]:
    """A short name for each run, of what tells it from the others; each name once.

    Args:
        among: those that are to be told apart; by default all.
    """
    entries = ranking.entries if among is None else among
    kept = telling(keys(ranking), entries)
    found = [_label(entry, kept) for entry in entries]
    counts = Counter(found)
    return [
        label if label and counts[label] == 1 else " ".join(filter(None, [label, place(entry)]))
        for label, entry in zip(found, entries, strict=True)
    ]


def over_seeds(ranking: Ranking) -> list[str]:
    """A short name for each of `ranking.groups`, whose runs differ in their seed alone."""
    kept = telling([key for key in keys(ranking) if key[0] != "seed"], ranking.entries)
    firsts = [group.entries[0] for group in ranking.groups]
    return [_label(first, kept) or name(first.algo) or place(first) for first in firsts]


def telling(differ: Sequence[Key], entries: Sequence[Entry]) -> list[Key]:
    """The keys without those that follow from the others: `meta_batch` from `algo`, say.

    Keys of few values come first: if every run has its own value of a key, all others follow.
    """

    def rank(key: Key) -> tuple[bool, bool]:
        return key[0] == "seed", key[0] not in ITSELF

    few = {key[0]: len({key[2](entry) for entry in entries}) for key in differ}
    kept: list[Key] = []
    told: list[tuple[str, ...]] = [()] * len(entries)
    for key in sorted(differ, key=lambda key: (*rank(key), few[key[0]])):
        more = [(*t, key[2](entry)) for t, entry in zip(told, entries, strict=True)]
        if len(set(more)) > len(set(told)):
            kept, told = [*kept, key], more
    return sorted((key for key in differ if key in kept), key=rank)


def _label(entry: Entry, telling: Sequence[Key]) -> str:
    parts = []
    for key, title, value in telling:
        text = value(entry)
        if text != "–":
            short = key in ITSELF or key in FACTS
            parts.append(text if short else f"{title.rpartition('.')[2]} {text}")
    return printable(" · ".join(parts), 100)


def place(entry: Entry) -> str:
    """Where a run lies, or the end of that."""
    text = entry.name or str(entry.folder)
    return printable(text if len(text) <= 60 else f"…{text[-59:]}", 60)


def name(text: str) -> str:
    """A path or a value on one line."""
    return printable(text, 200)


def grouping(ranking: Ranking) -> list[tuple[str, Callable[[Entry], str]]]:
    """Keys that runs can be coloured by: a few values, and more than one."""
    found = []
    for key, title, value in keys(ranking):
        values = {value(entry) for entry in ranking.entries}
        if 1 < len(values) <= COLOURS:
            order = ITSELF.index(key) if key in ITSELF else len(ITSELF) + (key == "seed")
            found.append((order, title, value))
    return [(title, value) for _, title, value in sorted(found, key=lambda f: f[0])]
