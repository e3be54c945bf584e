"""Runs sorted by their result, with what differs between them, and their means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from metarun.report.runs import STATUSES, Entry, Stat, natural
from metarun.stats import interval
from metarun.tasks.headline import Headline

FACTS = {"algo": "algo", "data": "data", "task": "task", "batch_norm": "batch norm"}
TOLD_BY = {"task": ("ways", "shots"), "batch_norm": ("algo.batch_norm",)}
# What may differ between two trainings of one setting besides the seed.
FREE = ("seed", "out", "tags", "logger", "device", "threads", "audit", "data.root", "data.cache")
FREE += ("data_home",)


@dataclass(frozen=True)
class OverSeeds:
    """Runs that differ only in their seed.

    The interval is Student's t over the runs' means, on the same episodes. That of a single run is
    over its episodes, and says nothing of another training.
    """

    entries: list[Entry]
    test: Stat
    val: Stat | None

    @property
    def seeds(self) -> list[int]:
        return sorted(e.seed for e in self.entries if e.seed is not None)


@dataclass(frozen=True)
class Ranking:
    """Attributes:
    entries: the best first; those without a test figure last.
    """

    entries: list[Entry]

    @cached_property
    def headlines(self) -> list[Headline]:
        """Those of the runs, in their order; figures of two headlines cannot be compared."""
        return list(dict.fromkeys(e.headline for e in self.entries if e.headline))

    @cached_property
    def varied(self) -> list[str]:
        """The typed keys in whose values the runs differ, as far as these are known."""
        typed = dict.fromkeys(key for entry in self.entries for key in entry.words)
        known = [entry for entry in self.entries if entry.words or entry.settings]
        return [k for k in typed if len({self.value(e, k) for e in known}) > 1]

    @cached_property
    def constant(self) -> dict[str, str]:
        """What is the same for all that say it: of algo, data, task and batch norm."""
        held = {fact: {getattr(e, fact) for e in self.entries} - {""} for fact in FACTS}
        return {fact: values.pop() for fact, values in held.items() if len(values) == 1}

    @property
    def shared(self) -> str:
        """`constant` in words, for a title, without what a column tells."""
        said = {fact: value for fact, value in self.constant.items() if fact not in self._told}
        if "batch_norm" in said:
            said["batch_norm"] += " batch norm"
        return ", ".join(said.values())

    @cached_property
    def differing(self) -> list[str]:
        """Those facts that differ and are not told by a varied key."""
        some = [f for f in FACTS if any(getattr(e, f) for e in self.entries)]
        return [fact for fact in some if fact not in self.constant and fact not in self._told]

    @cached_property
    def _told(self) -> set[str]:
        return {f for f in FACTS if set(TOLD_BY.get(f, (f,))) & set(self.varied)}

    def value(self, entry: Entry, key: str) -> str:
        """What a run has for a key, typed or not."""
        return entry.settings.get(key, entry.words.get(key, "–"))

    def over(self, entry: Entry) -> OverSeeds | None:
        """The runs that differ from this one in nothing but their seed, if there are any."""
        return self._over.get(id(entry))

    @cached_property
    def groups(self) -> list[OverSeeds]:
        """Settings that were tested under several seeds, the best first."""
        return list({id(group): group for group in self._over.values()}.values())

    @cached_property
    def _over(self) -> dict[int, OverSeeds]:
        alike: dict[Any, dict[int, Entry]] = {}
        for entry in sorted(
            self.entries, key=lambda entry: natural(entry.name)
        ):  # of two with one seed, not the better
            if entry.test is not None and entry.seed is not None:
                alike.setdefault(_setting(entry), {}).setdefault(entry.seed, entry)
        groups = [_over_seeds(list(own.values())) for own in alike.values() if len(own) > 1]
        groups.sort(key=lambda group: _place(group.entries[0].headline, group.test))
        return {id(entry): group for group in groups for entry in group.entries}


def rank(entries: Sequence[Entry]) -> Ranking:
    """Sort by test figure; where there is none by status, and then by validation."""

    def key(entry: Entry) -> tuple[Any, ...]:
        place = (_place(entry.headline, entry.val), natural(entry.name))
        if entry.test is not None:
            return (-1, _place(entry.headline, entry.test), *place)
        return (STATUSES.index(entry.status), (), *place)

    return Ranking(sorted(entries, key=key))


def _place(headline: Headline, stat: Stat | None) -> tuple[Any, ...]:
    """The better, the smaller; score by score, those of which less is better after the others."""
    if stat is None:
        return (2,)
    kind = (int(not headline.higher_is_better), headline.score, headline.percent)
    return (*kind, -headline.worth(stat.mean))


def _setting(entry: Entry) -> Any:
    """What a figure depends on besides the seed; two figures with equal keys differ in that."""
    typed = {**entry.words, **entry.settings}
    below = tuple(f"{key}." for key in FREE)
    kept = [(k, v) for k, v in typed.items() if k not in FREE and not k.startswith(below)]
    protocol = sorted((k, repr(v)) for k, v in entry.protocol.items() if k != "headline")
    return (entry.steps, entry.headline, tuple(sorted(kept)), tuple(protocol))


def _over_seeds(entries: list[Entry]) -> OverSeeds:
    vals = [entry.val for entry in entries]
    return OverSeeds(entries, _mean([e.test for e in entries]), _mean(vals) if all(vals) else None)


def _mean(stats: Sequence[Stat]) -> Stat:
    """The mean of several runs' figures, with its interval over them."""
    return Stat(**interval(np.array([stat.mean for stat in stats])))
