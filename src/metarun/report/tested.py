"""Reads a finished test, and refuses files that are not what metarun writes."""

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
from metarun.report.untrusted import part, shown, spelled
from metarun.tasks.headline import Headline

NEEDED = ("data", "split", "split_sha256", "episodes", "episodes_sha256", "eval_seed", "batch_norm")
SIZES = ("ways", "shots", "queries")  # null where tasks have sizes of their own
LARGEST = 64 * 2**20  # bytes of a file that is read: a million episodes


@dataclass(frozen=True)
class Tested:
    """The test of a run, or one of its evaluations.

    Attributes:
        folder: as it was typed.
        headline: the score that it is judged by.
        values: (episodes) that score of each test episode.
        result: what its `result.json` holds.
    """

    folder: Path
    headline: Headline
    values: np.ndarray
    result: dict[str, Any]

    @property
    def protocol(self) -> dict[str, Any]:
        return self.result["protocol"]


def read_test(folder: Path) -> Tested:
    """The finished test in `folder`.

    Raises:
        Refused: it is not there, not finished, or its files are not what metarun writes.
    """
    if not folder.is_dir():
        hint = "is not a folder" if folder.exists() else "no such folder"
        raise Refused(f"{shown(folder)}: {hint}")
    file, table = folder / "result.json", folder / "test_episodes.csv"
    result = _parsed(file, json.loads, f"{folder}: holds no test: result.json is not there")
    if not isinstance(result, dict):
        raise Refused(f"{file}: is not what a run leaves there")
    status = result.get("status")
    if status != "completed":
        raise Refused(f"{folder}: is not finished: its status is {shown(status)}")
    protocol, test = result.get("protocol"), result.get("test")
    if not isinstance(protocol, dict) or not isinstance(test, dict):
        raise Refused(f"{file}: protocol and test: missing")
    missing = [key for key in NEEDED if protocol.get(key) is None]
    missing += [key for key in SIZES if key not in protocol]
    if missing:
        raise Refused(f"{file}: protocol: {', '.join(missing)}: missing")
    if not (headline := Headline.of(result)):
        raise Refused(f"{file}: test: holds no score that learners are judged by")
    score, episodes = headline.score, protocol["episodes"]
    mean = part(test, score).get("mean")
    if not isinstance(mean, float | int) or not abs(mean) < 1e300:
        raise Refused(f"{file}: test.{score}.mean={shown(mean)}: should be a number")
    if isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 2:
        raise Refused(f"{file}: protocol.episodes={shown(episodes)}: should be 2 or more")
    values = _parsed(
        table,
        lambda text: _column(text, table, headline, episodes),
        f"{table}: not there; metarun evaluate run=RUN_DIR writes one",
    )
    if not math.isclose(values.mean(), mean, rel_tol=1e-6, abs_tol=1e-9):
        raise Refused(
            f"{table}: its mean {score} is {values.mean():.6g}, that of "
            f"result.json is {shown(mean)}: the files do not belong together"
        )
    return Tested(folder, headline, values, result)


def _parsed(file: Path, parse: Callable[[str], Any], missing: str) -> Any:
    """What `parse` makes of the text in a file.

    Args:
        missing: the message where there is no such file.
    """
    try:
        return parse(read_whole(file, LARGEST).decode("utf-8"))
    except FileNotFoundError:
        raise Refused(missing) from None
    except (OSError, ValueError, RecursionError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Refused(f"{file}: cannot be read ({shown(reason)})") from error


def _column(text: str, file: Path, headline: Headline, episodes: int) -> np.ndarray:
    """The column (episodes) of the headline in `test_episodes.csv`."""
    score, fraction = headline.score, headline.percent
    least, most = (0.0, 1.0) if fraction else (-1e150, 1e150)  # whose squares still have a sum
    values: list[float] = []
    rows = csv.reader(io.StringIO(text))
    head = next(rows, [])
    if head[:1] != ["episode"] or head.count(score) != 1:
        raise Refused(f"{file}: should have the columns episode and {score}")
    column = head.index(score)
    for i, row in enumerate(rows):
        value = spelled(row[column]) if len(row) == len(head) else None
        if i == episodes:
            raise Refused(f"{file}: more rows than the {episodes} episodes of the protocol")
        if row[:1] != [str(i)] or value is None or not least <= value <= most:
            raise Refused(
                f"{file}: row {i + 1}: {shown(','.join(row))}: should be episode {i} with its "
                f"{score}" + (", from 0 to 1" if fraction else "")
            )
        values.append(value)
    if len(values) < episodes:
        raise Refused(f"{file}: {len(values)} rows; the protocol has {shown(episodes)} episodes")
    return np.array(values)
