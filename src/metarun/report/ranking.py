"""Runs sorted task by task, the settings that differ between them, and means over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from metarun.report.entry import STATUSES, Entry, Stat, Task
from metarun.report.runs import natural
from metarun.report.seeds import SeedGroup, seed_groups
from metarun.tasks.headline import Headline

FACTS = {"algo": "algo", "data": "data", "task": "task", "batch_norm": "batch norm"}  # and titles
# Keys that determine a fact; by default, the key of the same name.
FACT_KEYS = {"task": ("ways", "shots"), "batch_norm": ("algo.batch_norm",)}


@dataclass(frozen=True)
class Ranking:
    """Runs, sorted.

    Runs that were tested on one task are ranked by their validation figures if all of them have
    one, else by their test figures: the test figure of the best of many by test is too high.

    Attributes:
        entries: the runs of each task together, the best first; runs without a test figure last.
    """

    entries: list[Entry]

    @cached_property
    def by_validation(self) -> dict[Task, bool]:
        """Whether the runs of each task are ranked by validation, in the order of the tasks."""
        all_have: dict[Task, bool] = {}
        for entry in self.entries:
            if entry.test is not None:
                task = entry.tested_on
                all_have[task] = all_have.get(task, True) and entry.val is not None
        return all_have

    @property
    def title(self) -> str:
        """The shared facts and the criterion, for the title of a table or picture."""
        return "; ".join(filter(None, [self.shared, self.criterion]))

    @property
    def criterion(self) -> str:
        """By which figure the runs are ranked, in words; empty for a single tested run."""
        if sum(entry.test is not None for entry in self.entries) < 2:
            return ""
        kinds = set(self.by_validation.values())
        figures = "validation" if kinds == {True} else "test" if kinds == {False} else ""
        figures = figures or "validation where all have one of the task, else by test"
        return "each task " * (len(self.by_validation) > 1) + f"ranked by {figures}"

    @cached_property
    def lines(self) -> list[tuple[SeedGroup | None, list[Entry]]]:
        """The tested settings, ranked: the runs of a seed group, or a single run."""
        tested = [entry for entry in self.entries if entry.test is not None]
        in_groups = {id(entry) for group in self.groups for entry in group.entries}
        lines = [(None, [entry]) for entry in tested if id(entry) not in in_groups]
        lines += [(group, group.entries) for group in self.groups]
        return sorted(lines, key=lambda line: self._key(line[0] or line[1][0], line[1][0]))

    @cached_property
    def _places(self) -> dict[Task, int]:
        return {task: place for place, task in enumerate(self.by_validation)}

    def _key(self, ranked: Entry | SeedGroup, first: Entry) -> tuple[Any, ...]:
        """The sort key of a tested run or of a group, of which `first` is a run."""
        task = first.tested_on
        stat = ranked.val if self.by_validation[task] else ranked.test
        return (self._places[task], _sort_key(first.headline, stat), natural(first.name))

    @cached_property
    def headlines(self) -> list[Headline]:
        """The headlines of the runs, in their order; scores of two headlines are not comparable."""
        return list(dict.fromkeys(e.headline for e in self.entries if e.headline))

    @cached_property
    def varied(self) -> list[str]:
        """The keys typed for any run whose values differ between the readable runs."""
        typed_keys = dict.fromkeys(key for entry in self.entries for key in entry.words)
        readable = [entry for entry in self.entries if entry.words or entry.settings]
        return [k for k in typed_keys if len({self.value(e, k) for e in readable}) > 1]

    @cached_property
    def constant(self) -> dict[str, str]:
        """The facts that have one value in all runs that state them."""
        values_of = {fact: {getattr(e, fact) for e in self.entries} - {""} for fact in FACTS}
        return {fact: values.pop() for fact, values in values_of.items() if len(values) == 1}

    @property
    def shared(self) -> str:
        """`constant` as text for a title, without facts that have a column."""
        facts = {f: value for f, value in self.constant.items() if f not in self._facts_in_columns}
        if "batch_norm" in facts:
            facts["batch_norm"] += " batch norm"
        return ", ".join(facts.values())

    @cached_property
    def differing(self) -> list[str]:
        """The facts that differ between runs and that no varied key determines."""
        stated = [f for f in FACTS if any(getattr(e, f) for e in self.entries)]
        return [f for f in stated if f not in self.constant and f not in self._facts_in_columns]

    @cached_property
    def _facts_in_columns(self) -> set[str]:
        return {f for f in FACTS if set(FACT_KEYS.get(f, (f,))) & set(self.varied)}

    def value(self, entry: Entry, key: str) -> str:
        """The value of a key in a run's configuration, else as typed, else `–`."""
        if key == "data" and entry.data:  # the name; its choice may be `image_folder`
            return entry.data
        return entry.settings.get(key, entry.words.get(key, "–"))

    def seed_group(self, entry: Entry) -> SeedGroup | None:
        """The group of runs that differ from this one only in their seed, if there is one."""
        return self._groups_by_id.get(id(entry))

    @cached_property
    def groups(self) -> list[SeedGroup]:
        """Settings that were tested under several seeds, the best first."""
        return list({id(group): group for group in self._groups_by_id.values()}.values())

    @cached_property
    def _groups_by_id(self) -> dict[int, SeedGroup]:
        groups = seed_groups(self.entries)
        groups.sort(key=lambda group: self._key(group, group.entries[0]))
        return {id(entry): group for group in groups for entry in group.entries}


def rank(entries: Sequence[Entry]) -> Ranking:
    """Sort tested runs task by task, and the others by status, then by validation figure."""
    by_validation = Ranking(list(entries)).by_validation

    def key(entry: Entry) -> tuple[Any, ...]:
        stat = entry.test if by_validation.get(entry.tested_on) is False else entry.val
        return (_sort_key(entry.headline, stat), natural(entry.name))

    tested = sorted((entry for entry in entries if entry.test is not None), key=key)
    places: dict[Task, int] = {}  # of the tasks, by their best runs
    for entry in tested:
        places.setdefault(entry.tested_on, len(places))
    tested.sort(key=lambda entry: places[entry.tested_on])
    others = [entry for entry in entries if entry.test is None]
    others.sort(key=lambda entry: (STATUSES.index(entry.status), *key(entry)))
    return Ranking([*tested, *others])


def _sort_key(headline: Headline, stat: Stat | None) -> tuple[Any, ...]:
    """Sorts figures score by score (lower-is-better scores last), the best first, missing last."""
    if stat is None:
        return (2,)
    score_key = (int(not headline.higher_is_better), headline.score, headline.percent)
    return (*score_key, -headline.worth(stat.mean))
