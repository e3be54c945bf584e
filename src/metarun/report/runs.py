"""What lies in run folders, finished or not, ours or a stranger's: read, and never written to."""

from __future__ import annotations

import math
import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from metarun.config.schema import show
from metarun.errors import Refused, printable
from metarun.report import configuration
from metarun.runs import results
from metarun.runs.lock import LOCK, at_work
from metarun.tasks.headline import UNKNOWN, Headline

STATUSES = ("completed", "running", "interrupted", "pruned", "killed", "failed", "unreadable")
OWN_FOLDERS = ("checkpoints", "wandb", "experiment")  # of a run or a sweep; no run lies in them
DEEPEST = 50  # levels of folders; a thousand would end the walk
NOT_SETTINGS = ("resume", "run", "name", "out", "hydra", "data.root", "data.cache", "data_home")
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
        return _part(self.result, "protocol")


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
        places = sorted(_places(folder), key=natural)
        if not places:
            mistakes.append(f"{folder}: holds no run")
        for place in places:
            name = str(place.relative_to(folder)) if place != folder else ""
            if len(folders) > 1 or not name:
                name = str(place)
            found.setdefault(place.resolve(), read_run(place, printable(name)))
    if mistakes:
        raise Refused(*mistakes)
    return list(found.values())


def natural(path: Path) -> list[tuple[int, str]]:
    """A key that sorts job 2 before job 10."""
    return [(int(p), "") if p.isdecimal() and len(p) < 16 else (10**16, p) for p in path.parts]


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
    run, protocol = _part(result, "run"), _part(result, "protocol")
    test, val = _part(result, "test"), _part(result, "val")
    headline = Headline.of(result)
    status, error = _status(folder, result)
    done = status == "completed"
    stat = _stat(test.get(headline.score)) if done else None
    if done and (stat is None or not protocol):
        status, error = "unreadable", "result.json: is not what a finished run leaves there"
    ways, shots = _whole(protocol.get("ways")), _whole(protocol.get("shots"))
    command = _text(run.get("command"))
    words = _words(command)
    if trained is not None:  # what was typed for it holds, and besides what was for the training
        words = {RETYPED.get(key, key): value for key, value in words.items()}
        settings |= words
        words = _words(_text(_part(_result(trained) or {}, "run").get("command"))) | words
    asked = {
        key: protocol[key] for key in ("ways", "shots", "queries") if _whole(protocol.get(key))
    }
    settings |= {key: str(value) for key, value in asked.items()}
    return Entry(
        folder,
        name,
        status,
        error,
        result,
        words,
        settings,
        command,
        algo=_text(run.get("algo")) or settings.get("algo", ""),
        data=_text(protocol.get("protocol")) or _text(protocol.get("data")),
        task=results.setting(ways, shots) if ways and shots else "",
        batch_norm=_text(protocol.get("batch_norm")),
        headline=headline,
        test=stat if status == "completed" else None,
        val=_stat(val.get(headline.score)),
        best_step=_whole(val.get("best_step")),
        steps=_whole(run.get("steps")),
        steps_done=_whole(run.get("steps_done")),
        seed=_whole(run.get("seed")),
        seconds=_number(run.get("wall_seconds")),
    )


def _result(folder: Path) -> dict[str, Any] | None:
    """What the folder's own `result.json` holds; a link could lead anywhere."""
    return None if (folder / "result.json").is_symlink() else results.read_result(folder)


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
    error = "; ".join(_text(line) for line in lines[:20] if isinstance(line, str))
    if status == "interrupted" and isinstance(result.get("pruned"), dict):
        return "pruned", ""
    if status == "running" and not at_work(folder):
        return "killed", "its process has ended; resume goes on from the last checkpoint"
    if status not in ("completed", "running", "interrupted", "failed"):
        return (
            "unreadable",
            f"result.json: status={printable(show(status), 80)}: is none that a run has",
        )
    return status, error


def _told_by(settings: Mapping[str, str]) -> dict[str, Any]:
    """What the configuration alone says of a run that has written no result yet."""
    ways, shots, seed = (_digits(settings.get(key, "")) for key in ("ways", "shots", "seed"))
    return {
        "algo": settings.get("algo", ""),
        "data": settings.get("data", ""),
        "task": results.setting(ways, shots) if ways and shots else "",
        "steps": _digits(settings.get("steps", "")),
        "seed": seed,
    }


def _words(command: str) -> dict[str, str]:
    """`key=value` of a command, but for those that say where and not what."""
    try:
        words = shlex.split(command)
    except ValueError:
        return {}
    pairs = (word.lstrip("+").partition("=") for word in words if "=" in word)
    return {key: value for key, _, value in pairs if not is_place(key)}


def is_place(key: str) -> bool:
    return key.startswith("-") or any(key == n or key.startswith(f"{n}.") for n in NOT_SETTINGS)


def _part(result: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = result.get(key)
    return part if isinstance(part, dict) else {}


def _stat(stat: Any) -> Stat | None:
    mean = _number(stat.get("mean")) if isinstance(stat, dict) else None
    if mean is None:
        return None
    ci95 = _number(stat.get("ci95"))
    return Stat(mean, ci95 if ci95 is not None and ci95 >= 0 else None)


def _number(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e15
    return float(value) if fits and math.isfinite(value) else None


def _whole(value: Any) -> int | None:
    fits = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
    return value if fits else None


def _digits(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None


def _text(value: Any) -> str:
    return printable(value) if isinstance(value, str) else ""
