"""`result.json` of a run, and tables of results."""

from __future__ import annotations

import csv
import io
import json
import logging
import math
import os
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rich.table import Table

from metarun import __version__
from metarun.errors import printable
from metarun.files import read_or_refuse, read_whole, write_whole
from metarun.runs.evaluations import new_folder
from metarun.runs.grid import Column, fitted
from metarun.tasks.headline import Headline

log = logging.getLogger(__name__)

MAX_BYTES = 2**26  # of a file: a million episodes
PACKAGES = ("torch", "learn2learn", "numpy", "hydra-core", "omegaconf", "wandb", "pillow")


def versions() -> dict[str, str]:
    """The versions of metarun, Python and the packages that affect results."""
    result = {"metarun": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            result[package] = version(package)
        except PackageNotFoundError:
            continue
    return result


def write(folder: Path, result: Mapping[str, Any]) -> None:
    """Write `result.json`."""
    write_whole(folder / "result.json", as_json(result))


def as_json(content: Mapping[str, Any]) -> str:
    """`content` as the text of a JSON file; NaN and infinities become null."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


def read_result(folder: Path) -> dict[str, Any] | None:
    """Read the folder's `result.json`; `None` if it is missing or unreadable."""
    try:
        result = json.loads(read_whole(folder / "result.json", MAX_BYTES).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None


def keep_copy(out: Path, step: int) -> None:
    """Copy the results of a finished run to `evaluations/`, because a longer run replaces them.

    Does nothing if an earlier attempt to continue the run has copied them.

    Raises:
        Refused: a file cannot be read or written.
    """
    default = f"after_{step}_steps"
    if read_result(out / "evaluations" / default) == read_result(out):
        return
    names = ["test_episodes.csv", "test_classes.csv", "result.json"]
    files = {
        name: read_or_refuse(out / name, MAX_BYTES) for name in names if os.path.lexists(out / name)
    }
    if names[0] not in files:
        log.warning("%s: missing; the run continues without a copy of it", out / names[0])
    with new_folder(out / "evaluations", None, default) as copy:
        for name, content in files.items():
            write_whole(copy / name, content)


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """The text of a CSV file with these rows."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def setting(ways: int | str | None, shots: int | str | None) -> str:
    """`5-way 1-shot` or `any-way 1-10-shot`; `10-shot` for tasks without classes; `–` for none."""
    if ways is None or shots is None:
        return "–"
    return f"{shots}-shot" if ways == 1 else f"{ways}-way {shots}-shot"


def data_name(protocol: Mapping[str, Any]) -> str:
    """The name of the tested data; older results contain only the choice of `data`."""
    return str(protocol.get("data_name") or protocol.get("data", "–"))


def trained_on_other_data(protocol: Mapping[str, Any]) -> str:
    """`glyphs → ` for a test of a run that was trained on other data, glyphs; else empty."""
    return f"{protocol.get('train_data', '–')} → " if "seen_in_training" in protocol else ""


def published(result: Mapping[str, Any]) -> tuple[str, str]:
    """The published figure beside a test, and a note on its source and on differences.

    Both are empty without a preset. The figure is `–` where nothing is published for the setting.
    """
    protocol = result.get("protocol")
    value = protocol.get("published") if isinstance(protocol, Mapping) else None
    if isinstance(value, str):
        return "–", printable(value)
    if not isinstance(value, Mapping):
        return "", ""
    headline, listed = Headline.of(result), value.get("differences")
    note = f"published: {printable(str(value.get('source', '')))}"
    differences = [printable(str(line)) for line in listed[:20]] if isinstance(listed, list) else []
    if differences:
        note += f"; differences: {', '.join(differences)}"
    return headline.published(value.get(headline.score)), note


def interval_over_classes(result: Mapping[str, Any]) -> str:
    """A line with the test figure and its interval over classes; empty if there is none."""
    headline, test = Headline.of(result), result.get("test") or {}
    stat = test.get(headline.score) or {}
    if "ci95_classes" not in stat:
        return ""
    figure = headline.figure({"mean": stat["mean"], "ci95": stat["ci95_classes"]})
    return f"test with the interval over its {test['classes']} classes: {figure}"


def validation(result: Mapping[str, Any]) -> Any:
    """The validation scores of a result; `None` if they are of another task than its test.

    The validation of a training stays in the results of its evaluations, whose task may differ.
    """
    return result.get("val") if result.get("val_of_same_task", True) else None


def table(result: Mapping[str, Any], width: int) -> Table:
    """A table with one row: algorithm, data, task and figures of a run.

    Args:
        width: of the terminal, in characters.
    """
    protocol, run = result.get("protocol", {}), result.get("run", {})
    done, headline = result.get("status") == "completed", Headline.of(result)
    figure, note = published(result)
    test = headline.figure_in(result.get("test")) if done else str(result.get("status", "–"))
    task = setting(protocol["ways"], protocol["shots"]) if "ways" in protocol else "–"
    columns = [
        Column("algo", [str(run.get("algo", "–"))], 1),
        Column("data", [trained_on_other_data(protocol) + data_name(protocol)], 2),
        Column("task", [task], 3),
        Column("test", [test], whole=True),
        *[Column("published", [figure], 4, whole=True)] * bool(note),
        Column("validation", [headline.figure_in(validation(result))], whole=True),
        Column("steps", [str(run.get("steps", "–"))], 5, right=True, whole=True),
        Column("time", [clock(run.get("wall_seconds"))], 6, right=True, whole=True),
    ]
    return fitted("", columns, width)[0]


def clock(seconds: float | None) -> str:
    """`1:02:03`; `2:03` under an hour; `–` for `None`."""
    if seconds is None:
        return "–"
    minutes, s = divmod(round(seconds), 60)
    hours, m = divmod(minutes, 60)
    return f"{hours}:{m:02d}:{s:02d}" if hours else f"{m}:{s:02d}"


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(v) for key, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
