"""The keys in which runs differ, and short labels for runs that are built from them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from metarun.errors import printable
from metarun.report.entry import Entry
from metarun.report.ranking import FACTS, Ranking

# Keys whose values are clear without the key; they come first in labels.
CHOICES = ("algo", "data", "backbone", "optimizer", "augmentation", "experiment")
Key = tuple[str, str, Callable[[Entry], str]]  # the key, its title, and its value for a run
MAX_COLOURS = 14  # values of a key that runs can be coloured by


def keys(ranking: Ranking) -> list[Key]:
    """The keys and facts in which the runs differ; a fact that a key determines is left out."""
    typed = [(k, one_line(k), lambda e, k=k: ranking.value(e, k)) for k in ranking.varied]
    facts = [(f, FACTS[f], lambda e, f=f: getattr(e, f) or "–") for f in ranking.differing]
    return [(k, title, lambda e, v=value: printable(v(e), 80)) for k, title, value in typed + facts]


def run_labels(ranking: Ranking, among: Sequence[Entry] | None = None) -> list[str]:
    """A unique short label for each run, made of the settings in which it differs from the others.

    Args:
        among: the runs to label; by default all.
    """
    entries = ranking.entries if among is None else among
    label_keys = distinguishing(keys(ranking), entries)
    labels = [_label(entry, label_keys) for entry in entries]
    counts = Counter(labels)
    return [
        label if label and counts[label] == 1 else " ".join(filter(None, [label, path_end(entry)]))
        for label, entry in zip(labels, entries, strict=True)
    ]


def group_labels(ranking: Ranking) -> list[str]:
    """A short label for each of `ranking.groups`, without the seed."""
    label_keys = distinguishing([k for k in keys(ranking) if k[0] != "seed"], ranking.entries)
    firsts = [group.entries[0] for group in ranking.groups]
    return [
        _label(first, label_keys) or one_line(first.algo) or path_end(first) for first in firsts
    ]


def distinguishing(differing: Sequence[Key], entries: Sequence[Entry]) -> list[Key]:
    """The keys without those that others determine, as `algo` may determine `meta_batch`.

    Keys with few values are selected first: a key with a different value in each run would make all
    others redundant.
    """

    def rank(key: Key) -> tuple[bool, bool]:
        return key[0] == "seed", key[0] not in CHOICES

    counts = {key[0]: len({key[2](entry) for entry in entries}) for key in differing}
    selected: list[Key] = []
    settings: list[tuple[str, ...]] = [()] * len(entries)  # values of the selected keys, by run
    for key in sorted(differing, key=lambda key: (*rank(key), counts[key[0]])):
        longer = [(*s, key[2](entry)) for s, entry in zip(settings, entries, strict=True)]
        if len(set(longer)) > len(set(settings)):
            selected, settings = [*selected, key], longer
    return sorted((key for key in differing if key in selected), key=rank)


def _label(entry: Entry, label_keys: Sequence[Key]) -> str:
    parts = []
    for key, title, value in label_keys:
        text = value(entry)
        if text != "–":
            value_only = key in CHOICES or key in FACTS
            parts.append(text if value_only else f"{title.rpartition('.')[2]} {text}")
    return printable(" · ".join(parts), 138)


def path_end(entry: Entry) -> str:
    """The last 60 characters of a run's path."""
    text = entry.name or str(entry.folder)
    return printable(text if len(text) <= 60 else f"…{text[-59:]}", 60)


def one_line(text: str) -> str:
    """A path or a value as printable text of at most 200 characters."""
    return printable(text, 200)


def colour_keys(ranking: Ranking) -> list[tuple[str, Callable[[Entry], str]]]:
    """Titles and values of the keys that runs can be coloured by: 2 to `MAX_COLOURS` values."""
    candidates = []
    for key, title, value in keys(ranking):
        values = {value(entry) for entry in ranking.entries}
        if 1 < len(values) <= MAX_COLOURS:
            order = CHOICES.index(key) if key in CHOICES else len(CHOICES) + (key == "seed")
            candidates.append((order, title, value))
    return [(title, value) for _, title, value in sorted(candidates, key=lambda c: c[0])]
