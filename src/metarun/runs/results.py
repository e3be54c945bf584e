"""`result.json`: a number and how it came about; and the tables made of such numbers."""

from __future__ import annotations

import csv
import io
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from rich import box
from rich.table import Table
from rich.text import Text

from metarun import __version__
from metarun.files import read_whole, write_whole
from metarun.tasks.headline import Headline

PACKAGES = ("torch", "learn2learn", "numpy", "hydra-core", "omegaconf", "wandb", "pillow")


def versions() -> dict[str, str]:
    """What the figures were computed with."""
    found = {"metarun": __version__, "python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def write(folder: Path, result: Mapping[str, Any]) -> None:
    """Write `result.json`."""
    write_whole(folder / "result.json", as_json(result))


def as_json(content: Mapping[str, Any]) -> str:
    """As a file holds it; what is not a number becomes null, as JSON has no NaN."""
    return json.dumps(_finite(content), indent=2, ensure_ascii=False) + "\n"


def read_result(folder: Path) -> dict[str, Any] | None:
    """The folder's `result.json`, or `None` where there is none that can be read."""
    try:
        found = json.loads(read_whole(folder / "result.json", 2**26).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_episodes(folder: Path, scores: Mapping[str, np.ndarray]) -> None:
    """Write `test_episodes.csv`: a row for each test episode, so that learners can be paired."""
    columns = [values.tolist() for values in scores.values()]
    rows = ([i, *row] for i, row in enumerate(zip(*columns, strict=True)))
    write_whole(folder / "test_episodes.csv", csv_text([["episode", *scores], *rows]))


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """Rows as a CSV file holds them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def setting(ways: int | None, shots: int | None) -> str:
    """`5-way 1-shot`, or `10-shot` for tasks without classes, `–` for tasks of any size."""
    if ways is None or shots is None:
        return "–"
    return f"{shots}-shot" if ways == 1 else f"{ways}-way {shots}-shot"


def table(result: Mapping[str, Any]) -> Table:
    """A run on one line: what, the task, and its figures."""
    protocol, run = result.get("protocol", {}), result.get("run", {})
    done, headline = result.get("status") == "completed", Headline.of(result)
    made = grid("", "algo", "data", "task", "test", "validation")
    made.add_column("steps", justify="right")
    made.add_column("time", justify="right")
    made.add_row(
        str(run.get("algo", "–")),
        str(protocol.get("data", "–")),
        setting(protocol["ways"], protocol["shots"]) if "ways" in protocol else "–",
        headline.figure_in(result.get("test")) if done else str(result.get("status", "–")),
        headline.figure_in(result.get("val")),
        str(run.get("steps", "–")),
        clock(run.get("wall_seconds")),
    )
    return made


def grid(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """A table without rows, whose titles are no markup.

    Args:
        columns: titles of the columns, the first ones.
        right: of those after them, whose cells end at the same place.
    """
    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(title), title_justify="left")
    for column in columns:
        made.add_column(Text(column), overflow="fold")
    for column in right:
        made.add_column(Text(column), overflow="fold", justify="right")
    return made


def clock(seconds: float | None) -> str:
    """`1:02:03`, or `2:03` under an hour."""
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
