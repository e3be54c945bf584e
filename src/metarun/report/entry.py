"""A run of the report, its figures and the task that it was tested on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from metarun.report.untrusted import part, text
from metarun.tasks.headline import UNKNOWN, Headline

STATUSES = ("completed", "running", "interrupted", "pruned", "killed", "failed", "unreadable")


class Stat(NamedTuple):
    """A mean and the half-width of its 95 % interval (`None` if unknown)."""

    mean: float
    ci95: float | None


class Task(NamedTuple):
    """What a run was tested on: figures of different tasks do not rank runs."""

    headline: Headline
    data: str  # the choice of `data` or the title of a challenge, and whether other data trained
    sizes: str
    split: str  # hash of the split, or the name of the data if the hash is unknown


@dataclass(frozen=True, eq=False)
class Entry:
    """A run, or one of its evaluations. All fields are validated except `result`.

    Attributes:
        name: path relative to the folder that was given to `find`, printable.
        status: one of `STATUSES`. `killed`: the run is marked as running but its process has ended.
        error: why the run failed or cannot be read.
        result: content of `result.json`, unvalidated.
        words: `key=value` arguments of its command; an evaluation's override those of its run.
        settings: the configuration by dotted key, values as typed on a command line.
        headline: the score that learners are judged by, or `UNKNOWN`.
        test, val: that score on the test episodes, and at the best validation if that was on
            tasks of the same kind.
        seconds: wall time.
        published, published_note: a preset's figure, and its source and differences; or empty.
    """

    folder: Path
    name: str
    status: str
    error: str = ""
    result: dict[str, Any] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    command: str = ""
    algo: str = ""
    data: str = ""
    task: str = ""
    batch_norm: str = ""
    headline: Headline = UNKNOWN
    test: Stat | None = None
    val: Stat | None = None
    best_step: int | None = None
    steps: int | None = None
    steps_done: int | None = None
    seed: int | None = None
    seconds: float | None = None
    published: str = ""
    published_note: str = ""

    @property
    def protocol(self) -> dict[str, Any]:
        """The protocol in `result.json`, unvalidated."""
        return part(self.result, "protocol")

    @property
    def tested_on(self) -> Task:
        """The task of the test."""
        sha256 = text(self.protocol.get("split_sha256"))
        data = text(self.protocol.get("protocol")) or text(self.protocol.get("data"))
        other = " of runs trained on other data" * ("seen_in_training" in self.protocol)
        return Task(self.headline, data + other, self.task, sha256 or self.data)
