"""Finds the runs below a folder, and reads each whatever state it is in; writes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from metarun.config.schema import show
from metarun.errors import Refused, printable
from metarun.report import configuration
from metarun.report.untrusted import is_own, number, part, text, whole
from metarun.runs import results
from metarun.runs.lock import LOCK, at_work
from metarun.tasks.headline import UNKNOWN, Headline

STATUSES = ("completed", "running", "interrupted", "pruned", "killed", "failed", "unreadable")
OWN_FOLDERS = ("checkpoints", "wandb", "experiment")  # of a run or a sweep; no run lies in them
DEEPEST = 50  # levels of folders; a thousand would end the walk
RETYPED = {"episodes": "test_episodes"}  # what evaluate calls otherwise


class Stat(NamedTuple):
    """A mean with the half-width of its 95 % interval, `None` where there is none."""

    mean: float
    ci95: float | None


@dataclass(frozen=True, eq=False)
class Entry:
    """A run, or one of its evaluations; only `result` is as it was read, the rest is checked.

    Attributes:
        name: where it lies below what was typed, printable.
        status: one of `STATUSES`. `killed`: says that it runs, and its process is gone.
        error: why it failed or cannot be read.
        result: what its `result.json` holds.
        words: what was typed for it, and for an evaluation before that for its run, by key.
        settings: its configuration by dotted key, each value as one would type it.
        headline: the score that it is judged by; `UNKNOWN` where nothing says.
        test, val: that score on the test episodes, and of the best validation.
        seconds: of wall time.
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

    @property
    def protocol(self) -> dict[str, Any]:
        return part(self.result, "protocol")


def find(folders: Sequence[Path]) -> list[Entry]:
    """Every run and evaluation in the folders, each once, in the order of their names.

    Raises:
        Refused: a line for each that is no folder or holds no run.
    """
    found: dict[Path, Entry] = {}
    mistakes = []
    for folder in folders:
        if not folder.is_dir():
            hint = "is not a folder" if folder.exists() else "no such folder"
            mistakes.append(f"{folder}: {hint}")
            continue
        places = sorted(_places(folder), key=lambda place: natural(str(place)))
        if not places:
            mistakes.append(f"{folder}: holds no run")
        for place in places:
            alone = len(folders) > 1 or place == folder
            name = str(place if alone else place.relative_to(folder))
            found.setdefault(place.resolve(), read_run(place, printable(name)))
    if mistakes:
        raise Refused(*mistakes)
    return list(found.values())


def natural(place: str) -> list[tuple[int, str]]:
    """A key by which paths sort with job 2 before job 10."""
    found = ((_digits(part), part) for part in Path(place).parts)
    return [(10**16, part) if number is None else (number, "") for number, part in found]


def read_run(folder: Path, name: str) -> Entry:
    """The run or evaluation in `folder`, whatever state it is in."""
    trained = folder.parents[1] if folder.parent.name == "evaluations" else None
    settings = configuration.settings(trained or folder)
    file = folder / "result.json"
    result = _result(folder)
    if result is None:
        if file.exists():
            return Entry(folder, name, "unreadable", "result.json cannot be read")
        status = "running" if at_work(folder) else "killed"
        return Entry(folder, name, status, settings=settings, **_told_by(settings))
    run, protocol = part(result, "run"), part(result, "protocol")
    test, val = part(result, "test"), part(result, "val")
    headline = Headline.of(result)
    status, error = _status(folder, result)
    stat = _stat(test, headline) if status == "completed" and protocol else None
    if status == "completed" and stat is None:
        status, error = "unreadable", "result.json: is not what a finished run leaves there"
    ways, shots = whole(protocol.get("ways")), whole(protocol.get("shots"))
    command = text(run.get("command"))
    words = configuration.words(command)
    if trained is not None:  # what was typed for it holds, and besides what was for the training
        words = {RETYPED.get(key, key): value for key, value in words.items()}
        settings |= words
        before = text(part(_result(trained) or {}, "run").get("command"))
        words = configuration.words(before) | words
    sizes = (key for key in ("ways", "shots", "queries") if whole(protocol.get(key)))
    settings |= {key: str(protocol[key]) for key in sizes}
    return Entry(
        *(folder, name, status, error, result, words, settings, command),
        algo=text(run.get("algo")) or settings.get("algo", ""),
        data=text(protocol.get("protocol")) or text(protocol.get("data")),
        task=results.setting(ways, shots) if ways and shots else "",
        batch_norm=text(protocol.get("batch_norm")),
        headline=headline,
        test=stat,
        val=_stat(val, headline),
        best_step=whole(val.get("best_step")),
        **{key: whole(run.get(key)) for key in ("steps", "steps_done", "seed")},
        seconds=number(run.get("wall_seconds")),
    )


def _result(folder: Path) -> dict[str, Any] | None:
    """What the folder's own `result.json` holds; a link could lead anywhere."""
    return results.read_result(folder) if is_own(folder, "result.json") else None


def _places(folder: Path) -> Iterator[Path]:
    top = os.fspath(folder).count(os.sep)
    for here, inside, files in os.walk(folder):  # links are not followed
        inside[:] = [i for i in inside if i not in OWN_FOLDERS and not i.startswith(".")]
        if here.count(os.sep) - top >= DEEPEST:
            inside.clear()
        begun = "config.yaml" in files and (LOCK in files or "run.log" in files)
        if "result.json" in files or begun:
            yield Path(here)


def _status(folder: Path, result: Mapping[str, Any]) -> tuple[str, str]:
    status, error = result.get("status"), result.get("error", "")
    lines = error if isinstance(error, list) else [error]
    error = "; ".join(text(line) for line in lines[:20] if isinstance(line, str))
    if status == "interrupted" and isinstance(result.get("pruned"), dict):
        return "pruned", ""
    if status == "running" and not at_work(folder):
        return "killed", "its process has ended; resume goes on from the last checkpoint"
    if status not in ("completed", "running", "interrupted", "failed"):
        said = printable(show(status), 80)
        return "unreadable", f"result.json: status={said}: is none that a run has"
    return status, error


def _told_by(settings: Mapping[str, str]) -> dict[str, Any]:
    """What the configuration alone says of a run that has written no result yet."""
    keys = ("ways", "shots", "seed", "steps")
    ways, shots, seed, steps = (_digits(settings.get(key, "")) for key in keys)
    task = results.setting(ways, shots) if ways and shots else ""
    told = {key: settings.get(key, "") for key in ("algo", "data")}
    return {**told, "task": task, "steps": steps, "seed": seed}


def _stat(scores: Mapping[str, Any], headline: Headline) -> Stat | None:
    stat = part(scores, headline.score)
    mean, ci95 = number(stat.get("mean")), number(stat.get("ci95"))
    if mean is None:
        return None
    return Stat(mean, ci95 if ci95 is not None and ci95 >= 0 else None)


def _digits(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None
