"""Finds the runs below a folder and reads them, finished or not. Writes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from metarun.config.explanation import show
from metarun.errors import Refused, printable
from metarun.report import configuration
from metarun.report.entry import Entry, Stat
from metarun.report.untrusted import is_own, number, part, size, text, whole
from metarun.runs import results
from metarun.runs.lock import LOCK, at_work
from metarun.tasks.headline import Headline

SKIPPED_FOLDERS = ("checkpoints", "wandb", "experiment")  # written by metarun; contain no runs
MAX_DEPTH = 50  # levels of folders searched; `os.walk` fails at about a thousand
EVALUATE_KEYS = {"episodes": "test_episodes"}  # keys of `metarun evaluate` → keys of training
DATA_ENTRIES = ("protocol", "data_name", "data")  # of the protocol, the first of which counts
# Entries of the protocol that a validation figure depends on.
TASK_ENTRIES = (
    "data",
    "protocol",
    "data_settings",
    "ways",
    "shots",
    "queries",
    "batch_norm",
    "algo",
)


def find(folders: Sequence[Path]) -> list[Entry]:
    """Find every run and evaluation below the folders, each once, in natural order of their paths.

    Raises:
        Refused: with a line for each folder that is missing or contains no run.
    """
    entries: dict[Path, Entry] = {}
    mistakes = []
    for folder in folders:
        if not folder.is_dir():
            hint = "is not a folder" if folder.exists() else "no such folder"
            mistakes.append(f"{folder}: {hint}")
            continue
        run_folders = sorted(_run_folders(folder), key=lambda path: natural(str(path)))
        if not run_folders:
            mistakes.append(f"{folder}: holds no run")
        for path in run_folders:
            full_path = len(folders) > 1 or path == folder
            name = str(path if full_path else path.relative_to(folder))
            entries.setdefault(path.resolve(), read_run(path, printable(name)))
    if mistakes:
        raise Refused(*mistakes)
    return list(entries.values())


def natural(path: str) -> list[tuple[int, str]]:
    """A sort key for paths that puts job 2 before job 10."""
    parts = ((_digits(part), part) for part in Path(path).parts)
    return [(10**16, part) if number is None else (number, "") for number, part in parts]


def read_run(folder: Path, name: str) -> Entry:
    """The run or evaluation in `folder`, finished or not."""
    training = folder.parents[1] if folder.parent.name == "evaluations" else None
    settings = configuration.settings(training or folder)
    file = folder / "result.json"
    result = _result(folder)
    if result is None:
        if file.exists():
            return Entry(folder, name, "unreadable", "result.json cannot be read")
        status = "running" if at_work(folder) else "killed"
        return Entry(folder, name, status, settings=settings, **_from_config(settings))
    run, protocol = part(result, "run"), part(result, "protocol")
    test, val = part(result, "test"), part(result, "val")
    headline = Headline.of(result)
    status, error = _status(folder, result)
    stat = _stat(test, headline) if status == "completed" and protocol else None
    if status == "completed" and stat is None:
        status, error = "unreadable", "result.json: is not the result of a finished run"
        if share := number(part(test, "diverged").get("mean")):
            status, error = "failed", f"diverged on {100 * share:.3g} % of the test tasks"
    ways, shots = size(protocol.get("ways")), size(protocol.get("shots"))
    command = text(run.get("command"))
    words = configuration.words(command)
    if training is not None:  # the words of the evaluation override those of the training
        words = {EVALUATE_KEYS.get(key, key): value for key, value in words.items()}
        settings |= words
        trained = _result(training) or {}
        words = configuration.words(text(part(trained, "run").get("command"))) | words
        if "val_of_same_task" not in result and trained:  # of an older version
            result = {**result, "val_of_same_task": _same_task(protocol, part(trained, "protocol"))}
    sizes = (key for key in ("ways", "shots", "queries") if size(protocol.get(key)))
    settings |= {key: str(protocol[key]) for key in sizes}
    figure, note = results.published(result)
    data = next(filter(None, map(text, map(protocol.get, DATA_ENTRIES))), "")
    return Entry(
        folder,
        name,
        status,
        error,
        result,
        words,
        settings,
        command,
        algo=text(run.get("algo")) or settings.get("algo", ""),
        data=text(results.trained_on_other_data(protocol)) + data,
        task=results.setting(ways, shots) if ways and shots else "",
        batch_norm=text(protocol.get("batch_norm")),
        headline=headline,
        test=stat,
        val=_stat(part({"val": results.validation(result)}, "val"), headline),
        best_step=whole(val.get("best_step")),
        **{key: whole(run.get(key)) for key in ("steps", "steps_done", "seed")},
        seconds=number(run.get("wall_seconds")),
        published=figure,
        published_note=note,
    )


def _result(folder: Path) -> dict[str, Any] | None:
    """The content of the folder's `result.json`; symbolic links are not followed."""
    return results.read_result(folder) if is_own(folder, "result.json") else None


def _run_folders(folder: Path) -> Iterator[Path]:
    top = os.fspath(folder).count(os.sep)
    for path, subfolders, files in os.walk(folder):  # does not follow symbolic links
        subfolders[:] = [s for s in subfolders if s not in SKIPPED_FOLDERS and s[:1] != "."]
        if path.count(os.sep) - top >= MAX_DEPTH:
            subfolders.clear()
        has_begun = "config.yaml" in files and (LOCK in files or "run.log" in files)
        if "result.json" in files or has_begun:
            yield Path(path)


def _status(folder: Path, result: Mapping[str, Any]) -> tuple[str, str]:
    status, error = result.get("status"), result.get("error", "")
    lines = error if isinstance(error, list) else [error]
    error = "; ".join(text(line) for line in lines[:20] if isinstance(line, str))
    if status == "interrupted" and isinstance(result.get("pruned"), dict):
        return "pruned", ""
    if status == "running" and not at_work(folder):
        return "killed", "its process has ended; resume continues from the last checkpoint"
    if status not in ("completed", "running", "interrupted", "failed"):
        value = printable(show(status), 80)
        return "unreadable", f"result.json: status={value}: is not the status of a run"
    return status, error


def _from_config(settings: Mapping[str, str]) -> dict[str, Any]:
    """The fields of an `Entry` that the configuration determines, for a run without a result."""
    keys = ("ways", "shots", "seed", "steps")
    ways, shots, seed, steps = (_digits(settings.get(key, "")) for key in keys)
    task = results.setting(ways, shots) if ways and shots else ""
    data, name = settings.get("data", ""), settings.get("data.name")
    if name is not None:
        root, file = Path(settings.get("data.root", "")), Path(settings.get("data.file", ""))
        data = name if name != "null" else root.name or file.stem or data
    algo = settings.get("algo", "")
    return {"algo": algo, "data": data, "task": task, "steps": steps, "seed": seed}


def _same_task(protocol: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether validation figures under two protocols are of the same kind of tasks."""
    try:
        return all(protocol.get(key) == other.get(key) for key in TASK_ENTRIES)
    except RecursionError:  # a hostile protocol with a thousand levels
        return False


def _stat(scores: Mapping[str, Any], headline: Headline) -> Stat | None:
    stat = part(scores, headline.score)
    mean, ci95 = number(stat.get("mean")), number(stat.get("ci95"))
    if mean is None:
        return None
    return Stat(mean, ci95 if ci95 is not None and ci95 >= 0 else None)


def _digits(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < 16 else None
