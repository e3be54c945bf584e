"""Reads the test of a finished run, and refuses files that metarun did not write."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from metarun.errors import Refused
from metarun.files import read_whole
from metarun.report.untrusted import part, shown, to_float
from metarun.tasks.headline import Headline

NEEDED = ("data", "split", "split_sha256", "episodes", "episodes_sha256", "eval_seed", "batch_norm")
SIZES = ("ways", "shots", "queries")  # null if sizes vary between tasks
MAX_BYTES = 64 * 2**20  # of a file: a million episodes


@dataclass(frozen=True)
class Tested:
    """The test of a run, or one of its evaluations.

    Attributes:
        folder: as typed.
        headline: the score that learners are judged by.
        values: (episodes) that score of each test episode.
        result: content of `result.json`.
    """

    folder: Path
    headline: Headline
    values: np.ndarray
    result: dict[str, Any]

    @property
    def protocol(self) -> dict[str, Any]:
        """The protocol in `result.json`."""
        return self.result["protocol"]


def read_test(folder: Path) -> Tested:
    """Read the test in `folder`.

    Raises:
        Refused: the test is missing or not finished, or its files are malformed.
    """
    if not folder.is_dir():
        hint = "is not a folder" if folder.exists() else "no such folder"
        raise Refused(f"{shown(folder)}: {hint}")
    file, table = folder / "result.json", folder / "test_episodes.csv"
    result = _parse(file, json.loads, f"{folder}: holds no test: result.json is not there")
    if not isinstance(result, dict):
        raise Refused(f"{file}: is not the result of a run")
    status = result.get("status")
    if status != "completed":
        raise Refused(f"{folder}: is not finished: status={shown(status)}")
    protocol, test = result.get("protocol"), result.get("test")
    if not isinstance(protocol, dict) or not isinstance(test, dict):
        raise Refused(f"{file}: protocol and test: missing")
    missing = [key for key in NEEDED if protocol.get(key) is None]
    missing += [key for key in SIZES if key not in protocol]
    if missing:
        raise Refused(f"{file}: protocol: {', '.join(missing)}: missing")
    if not (headline := Headline.of(result)):
        raise Refused(f"{file}: test: contains no score to judge learners by")
    score, episodes = headline.score, protocol["episodes"]
    mean = part(test, score).get("mean")
    if not isinstance(mean, float | int) or not abs(mean) < 1e300:
        raise Refused(f"{file}: test.{score}.mean={shown(mean)}: should be a number")
    if isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 2:
        raise Refused(f"{file}: protocol.episodes={shown(episodes)}: should be 2 or more")
    values = _parse(
        table,
        lambda text: _column(text, table, headline, episodes),
        f"{table}: missing; metarun evaluate run=RUN_DIR writes it",
    )
    if not math.isclose(values.mean(), mean, rel_tol=1e-6, abs_tol=1e-9):
        raise Refused(
            f"{table}: its mean {score} is {values.mean():.6g}, but result.json says "
            f"{shown(mean)}: the files are not from the same test"
        )
    return Tested(folder, headline, values, result)


def read_column(test: Tested, score: str) -> np.ndarray:
    """Read another score of a test, which is no fraction, of each of its episodes.

    Raises:
        Refused: the file is malformed, or lacks the score.
    """
    file, headline = test.folder / "test_episodes.csv", Headline(score, higher_is_better=False)
    episodes = test.protocol["episodes"]
    missing = f"{file}: missing; metarun evaluate run=RUN_DIR writes it"
    return _parse(file, lambda text: _column(text, file, headline, episodes), missing)


def _parse(file: Path, parse: Callable[[str], Any], missing: str) -> Any:
    """Apply `parse` to the text of a file.

    Args:
        missing: error message if the file does not exist.
    """
    try:
        return parse(read_whole(file, MAX_BYTES).decode("utf-8"))
    except FileNotFoundError:
        raise Refused(missing) from None
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Refused(f"{file}: cannot be read ({shown(reason)})") from error


def _column(text: str, file: Path, headline: Headline, episodes: int) -> np.ndarray:
    """The headline column (episodes) of `test_episodes.csv`."""
    score, fraction = headline.score, headline.percent
    low, high = (0.0, 1.0) if fraction else (-1e150, 1e150)  # so that a sum of squares is finite
    values: list[float] = []
    rows = csv.reader(io.StringIO(text))
    header = next(rows, [])
    if header[:1] != ["episode"] or header.count(score) != 1:
        raise Refused(f"{file}: should have the columns episode and {score}")
    column = header.index(score)
    for i, row in enumerate(rows):
        value = to_float(row[column]) if len(row) == len(header) else None
        if i == episodes:
            raise Refused(f"{file}: more rows than the {episodes} episodes of the protocol")
        if row[:1] != [str(i)] or value is None or not low <= value <= high:
            raise Refused(
                f"{file}: row {i + 1}: {shown(','.join(row))}: should be episode {i} with its "
                f"{score}" + (", from 0 to 1" if fraction else "")
            )
        values.append(value)
    if len(values) < episodes:
        raise Refused(f"{file}: {len(values)} rows; the protocol has {shown(episodes)} episodes")
    return np.array(values)
