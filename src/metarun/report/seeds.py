"""Runs that repeat a setting with other seeds, and their means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from metarun.config.schema import PLACES
from metarun.report.entry import Entry, Stat
from metarun.report.runs import natural
from metarun.stats import interval

# Keys that do not define a setting: runs that differ only in these are repetitions of one setting.
FREE = ("seed", "out", "tags", "logger", "device", "threads", "engine", "tasks_at_once", "audit")
FREE += ("workers", "data_home", *PLACES)


@dataclass(frozen=True)
class SeedGroup:
    """Runs that differ only in their seed.

    The interval is Student's t interval over the runs' mean scores, on the same episodes. It covers
    the variation between trainings; the interval of a single run covers its test episodes only.
    """

    entries: list[Entry]
    test: Stat
    val: Stat | None

    @property
    def seeds(self) -> list[int]:
        return sorted(e.seed for e in self.entries if e.seed is not None)


def seed_groups(entries: Sequence[Entry]) -> list[SeedGroup]:
    """The settings that were tested under several seeds.

    If a seed occurs twice, the first run by name counts; the better would bias the mean.
    """
    by_setting: dict[Any, dict[int, Entry]] = {}
    for entry in sorted(entries, key=lambda entry: natural(entry.name)):
        if entry.test is not None and entry.seed is not None:
            by_setting.setdefault(_setting(entry), {}).setdefault(entry.seed, entry)
    return [_seed_group(list(runs.values())) for runs in by_setting.values() if len(runs) > 1]


def _setting(entry: Entry) -> Any:
    """Everything that a figure depends on except the seed; equal for repetitions of a setting."""
    config = {**entry.words, **entry.settings}
    prefixes = tuple(f"{key}." for key in FREE)
    items = [(k, v) for k, v in config.items() if k not in FREE and not k.startswith(prefixes)]
    free = ("headline", "published", "engine")
    protocol = sorted((k, repr(v)) for k, v in entry.protocol.items() if k not in free)
    return (entry.steps, entry.headline, tuple(sorted(items)), tuple(protocol))


def _seed_group(entries: list[Entry]) -> SeedGroup:
    vals = [entry.val for entry in entries]
    return SeedGroup(entries, _mean([e.test for e in entries]), _mean(vals) if all(vals) else None)


def _mean(stats: Sequence[Stat]) -> Stat:
    """The mean of several runs' figures, with its interval over the runs."""
    return Stat(**interval(np.array([stat.mean for stat in stats])))
