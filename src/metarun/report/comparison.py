"""Tested runs side by side: only where they were tested on the same episodes in the same way."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from metarun.errors import Refused, printable
from metarun.files import read_whole
from metarun.stats import Difference, difference, holm, interval
from metarun.tasks.headline import Headline

NEEDED = ("data", "split", "split_sha256", "episodes", "episodes_sha256", "eval_seed", "batch_norm")
SIZES = ("ways", "shots", "queries")  # null where tasks have sizes of their own
# What is compared; and the headline, of which the title may differ.
FREE = ("algo", "backbone", "headline")
# What a learner learned from is its own affair too, but a reader should know. Any other entry of
# the protocol has to be the same, those that later versions add included.
NOTED = ("train_data", "train_split_sha256", "data_settings", "augmentation", "precision")
COLUMNS = ("run_a", "run_b", "score", "mean_a", "mean_b")
COLUMNS += ("difference", "ci95", "p", "p_holm", "episodes")
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
    def figure(self) -> str:
        """The score with its interval."""
        return self.headline.figure(interval(self.values))

    @property
    def protocol(self) -> dict[str, Any]:
        return self.result["protocol"]


@dataclass(frozen=True)
class Pair:
    """Two tests: `found` is the first's score minus the second's."""

    first: Tested
    second: Tested
    found: Difference
    p_holm: float

    @property
    def told_apart(self) -> bool:
        return self.p_holm < 0.05


def read_test(folder: Path) -> Tested:
    """The finished test in `folder`.

    Raises:
        Refused: it is not there, not finished, or its files are not what metarun writes.
    """
    file = folder / "result.json"
    result = _json(folder)
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
    score = headline.score
    stat, episodes = test.get(score), protocol["episodes"]
    mean = stat.get("mean") if isinstance(stat, dict) else None
    if not isinstance(mean, float | int) or not abs(mean) < 1e300:
        raise Refused(f"{file}: test.{score}.mean={shown(mean)}: should be a number")
    if isinstance(episodes, bool) or not isinstance(episodes, int) or episodes < 2:
        raise Refused(f"{file}: protocol.episodes={shown(episodes)}: should be 2 or more")
    values = _values(folder / "test_episodes.csv", headline, episodes)
    if not math.isclose(values.mean(), mean, rel_tol=1e-6, abs_tol=1e-9):
        raise Refused(
            f"{folder / 'test_episodes.csv'}: its mean {score} is {values.mean():.6g}, that of "
            f"result.json is {shown(mean)}: the files do not belong together"
        )
    return Tested(folder, headline, values, result)


def compare(tests: Sequence[Tested]) -> tuple[list[Pair], list[str]]:
    """All pairs, with their paired differences, and what a reader should know beside them.

    Raises:
        Refused: a line for each entry in which the protocols differ.
    """
    mistakes, notes = [], []
    entries = dict.fromkeys(key for test in tests for key in test.protocol)
    for key in (k for k in entries if k not in FREE):
        held = [(t.folder, t.protocol[key]) for t in tests if key in t.protocol]
        if any(value != held[0][1] for _, value in held):
            each = ", ".join(f"{shown(_short(value))} in {shown(name)}" for name, value in held)
            (notes if key in NOTED else mistakes).append(f"{key}: {each}")
        elif len(held) < len(tests):
            without = ", ".join(shown(t.folder) for t in tests if key not in t.protocol)
            notes.append(f"{key}: not written down in {without}")
    if len(kinds := {test.headline for test in tests}) > 1:
        mistakes.append(f"test: {' in some and '.join(sorted(h.score for h in kinds))} in others")
    if mistakes:
        lines = [f"compare: {line}: not the same protocol" for line in mistakes]
        raise Refused(*lines, *_advice(tests))
    both = list(combinations(tests, 2))
    found = [difference(a.values, b.values) for a, b in both]
    corrected = holm([one.p for one in found])
    return [Pair(*ab, one, p) for ab, one, p in zip(both, found, corrected, strict=True)], notes


def as_csv(pairs: Sequence[Pair]) -> str:
    """A row for each pair; figures as fractions."""
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(COLUMNS)
    for pair in pairs:
        a, b = pair.first, pair.second
        means = (float(a.values.mean()), float(b.values.mean()))
        rows.writerow(
            [a.folder, b.folder, a.headline.score, *means, *pair.found, pair.p_holm, len(a.values)]
        )
    return text.getvalue()


def shown(value: Any) -> str:
    """A value from somebody's file on one line of a terminal: short, and no control characters."""
    if isinstance(value, str | Path):
        text = str(value)
    else:
        try:
            text = json.dumps(value, ensure_ascii=False)
        except (RecursionError, ValueError):
            text = "…"
    return printable(text, 80)


def _short(value: Any) -> Any:
    """The beginning of a hash is enough to tell two apart."""
    is_hash = isinstance(value, str) and len(value) == 64 and value.isalnum()
    return value[:12] if is_hash else value


def _advice(tests: Sequence[Tested]) -> list[str]:
    """How to test one as the other was, if it is a matter of keys."""
    keys = {key: key for key in ("split", "ways", "shots", "queries", "episodes", "eval_seed")}
    words = [
        f"{name}={shown(tests[0].protocol[key])}"
        for key, name in {**keys, "batch_norm": "algo.batch_norm"}.items()
        if len({shown(test.protocol[key]) for test in tests}) > 1
    ]
    advice = f"compare: test them alike: metarun evaluate run=RUN_DIR {' '.join(words)}"
    return [advice] if words else []


def _json(folder: Path) -> dict[str, Any]:
    file = folder / "result.json"
    if not folder.is_dir():
        hint = "is not a folder" if folder.exists() else "no such folder"
        raise Refused(f"{shown(folder)}: {hint}")
    try:
        result = json.loads(_text(file))
    except FileNotFoundError:
        raise Refused(f"{folder}: holds no test: result.json is not there") from None
    except (OSError, ValueError, RecursionError) as error:
        raise Refused(f"{file}: cannot be read ({_reason(error)})") from error
    if not isinstance(result, dict):
        raise Refused(f"{file}: is not what a run leaves there")
    return result


def _values(file: Path, headline: Headline, episodes: int) -> np.ndarray:
    """The column (episodes) of the headline in `test_episodes.csv`."""
    score, fraction = headline.score, headline.percent
    least, most = (0.0, 1.0) if fraction else (-1e150, 1e150)  # whose squares still have a sum
    values: list[float] = []
    try:
        rows = csv.reader(io.StringIO(_text(file)))
        head = next(rows, [])
        if head[:1] != ["episode"] or head.count(score) != 1:
            raise Refused(f"{file}: should have the columns episode and {score}")
        column = head.index(score)
        for i, row in enumerate(rows):
            number = _number(row[column]) if len(row) == len(head) else math.nan
            if i == episodes:
                raise Refused(f"{file}: more rows than the {episodes} episodes of the protocol")
            if row[:1] != [str(i)] or not least <= number <= most:
                raise Refused(
                    f"{file}: row {i + 1}: {shown(','.join(row))}: should be episode {i} with its "
                    f"{score}" + (", from 0 to 1" if fraction else "")
                )
            values.append(number)
    except FileNotFoundError:
        raise Refused(f"{file}: not there; metarun evaluate run=RUN_DIR writes one") from None
    except (OSError, ValueError, csv.Error) as error:
        raise Refused(f"{file}: cannot be read ({_reason(error)})") from error
    if len(values) < episodes:
        raise Refused(f"{file}: {len(values)} rows; the protocol has {shown(episodes)} episodes")
    return np.array(values)


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


def _text(file: Path) -> str:
    return read_whole(file, LARGEST).decode("utf-8")


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return shown(text)
