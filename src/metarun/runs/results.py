"""`result.json` and `test_episodes.csv` of a run, and tables of results."""

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
from metarun.errors import printable
from metarun.files import read_whole, write_whole
from metarun.tasks.headline import Headline

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
        result = json.loads(read_whole(folder / "result.json", 2**26).decode("utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return result if isinstance(result, dict) else None


def write_episodes(folder: Path, scores: Mapping[str, np.ndarray]) -> None:
    """Write `test_episodes.csv`: one row per test episode, for paired comparisons of runs."""
    columns = [values.tolist() for values in scores.values()]
    rows = ([i, *row] for i, row in enumerate(zip(*columns, strict=True)))
    write_whole(folder / "test_episodes.csv", csv_text([["episode", *scores], *rows]))


def csv_text(rows: Iterable[Iterable[Any]]) -> str:
    """The text of a CSV file with these rows."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


def setting(ways: int | None, shots: int | None) -> str:
    """`5-way 1-shot`; `10-shot` for tasks without classes; `–` for tasks of varying size."""
    if ways is None or shots is None:
        return "–"
    return f"{shots}-shot" if ways == 1 else f"{ways}-way {shots}-shot"


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


def table(result: Mapping[str, Any]) -> Table:
    """A table with one row: algorithm, data, task and figures of a run."""
    protocol, run = result.get("protocol", {}), result.get("run", {})
    done, headline = result.get("status") == "completed", Headline.of(result)
    figure, note = published(result)
    rows = grid("", "algo", "data", "task", "test", *["published"] * bool(note), "validation")
    rows.add_column("steps", justify="right")
    rows.add_column("time", justify="right")
    rows.add_row(
        str(run.get("algo", "–")),
        str(protocol.get("data", "–")),
        setting(protocol["ways"], protocol["shots"]) if "ways" in protocol else "–",
        headline.figure_in(result.get("test")) if done else str(result.get("status", "–")),
        *[figure] * bool(note),
        headline.figure_in(result.get("val")),
        str(run.get("steps", "–")),
        clock(run.get("wall_seconds")),
    )
    return rows


def grid(title: str, *columns: str, right: Sequence[str] = ()) -> Table:
    """A table without rows. Titles are plain text, not rich markup.

    Args:
        columns: titles of the left-aligned columns, which come first.
        right: titles of the right-aligned columns.
    """
    empty = Table(box=box.SIMPLE_HEAD, pad_edge=False, title=Text(title), title_justify="left")
    for column in columns:
        empty.add_column(Text(column), overflow="fold")
    for column in right:
        empty.add_column(Text(column), overflow="fold", justify="right")
    return empty


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
