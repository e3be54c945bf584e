"""The files of three versions of MovieLens.

Harper & Konstan 2015, "The MovieLens Datasets: History and Context". Their licences allow research
and forbid to pass them on, so metarun reads the copy of the user.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from metarun.data.preparation.text_files import text
from metarun.errors import Refused

HOME = "https://grouplens.org/datasets/movielens/"
AGES = (1, 18, 25, 35, 45, 50, 56)  # youngest age of each group of MovieLens 1M
WHOLE, HALF = [1, 2, 3, 4, 5], [n / 2 for n in range(1, 11)]  # possible ratings
HEADERS = {"ratings.csv": "userId,movieId,rating,timestamp", "movies.csv": "movieId,title,genres"}
FLAGS = "unknown Action Adventure Animation Children's Comedy Crime Documentary Drama Fantasy "
FLAGS += "Film-Noir Horror Musical Mystery Romance Sci-Fi Thriller War Western"  # order in u.item

Item = tuple[int | None, list[str]]  # year of release, genres


class Movies(NamedTuple):
    """The content of a folder.

    Attributes:
        items: number → year of release (`None` if it is not stated) and genres.
        users: number → category by field; no fields in a version without demographics.
        ratings: user, item and rating of each.
    """

    items: dict[str, Item]
    users: dict[str, dict[str, str]]
    ratings: list[tuple[str, str, float]]


@dataclass(frozen=True)
class Version:
    """One version of MovieLens.

    Attributes:
        separator: of the columns in a line.
        files: names of the files of ratings, items and users; the last may be missing.
        columns: number of columns of each file.
        item, user: read the columns of a line after its number.
        stars: possible ratings.
        counts: number of ratings and users of the official files.
    """

    separator: str
    files: tuple[str, ...]
    columns: tuple[int, ...]
    item: Callable[[Sequence[str]], Item]
    user: Callable[[Sequence[str]], dict[str, str]] | None
    stars: list[float]
    counts: tuple[int, int]


def _year(title: str) -> int | None:
    match = re.search(r"\((\d{4})(?:[-–]\d*)?\)\s*$", title)
    return int(match[1]) if match else None


def _flagged(row: Sequence[str]) -> Item:
    """`Title | 01-Jan-1995 | … | 0 | 1 | …`"""
    date, flags = row[1], row[4:]
    if wrong := set(flags) - {"0", "1"}:
        raise ValueError(f"flag of a genre {min(wrong)!r}, not 0 or 1")
    genres = [name for name, flag in zip(FLAGS.split(), flags, strict=True) if flag == "1"]
    return (int(date[-4:]) if date[-4:].isdigit() else None), genres


def _listed(row: Sequence[str]) -> Item:
    """`Title (1995), Comedy|Drama`; latest-small also has `(no genres listed)`."""
    return _year(row[0]), [genre for genre in row[1].split("|") if genre]


def _user(order: Sequence[int], row: Sequence[str]) -> dict[str, str]:
    gender, age, occupation, code = (row[i] for i in order)
    group = max((low for low in AGES if low <= int(age)), default=AGES[0])
    return {"gender": gender, "age": str(group), "occupation": occupation, "zip": code}


VERSIONS = {
    "100k": Version(
        *("|", ("u.data", "u.item", "u.user"), (4, 24, 5)),
        *(_flagged, partial(_user, (1, 0, 2, 3)), WHOLE, (100_000, 943)),
    ),
    "1m": Version(
        *("::", ("ratings.dat", "movies.dat", "users.dat"), (4, 3, 5)),
        *(_listed, partial(_user, (0, 1, 2, 3)), WHOLE, (1_000_209, 6_040)),
    ),
    "latest-small": Version(
        *(",", ("ratings.csv", "movies.csv"), (4, 3)),
        *(_listed, None, HALF, (100_836, 610)),
    ),
}


def read(root: Path, name: str) -> Movies:
    """Read the files of a version from `root`, or from its folder `ml-NAME`.

    Raises:
        Refused: files are missing or those of another version, or a line is malformed: the wrong
            columns, a rating out of range or repeated, an item without a genre, an unknown number.
    """
    folder = root / f"ml-{name}" if (root / f"ml-{name}").is_dir() else root
    version = VERSIONS[name]
    if missing := [file for file in version.files if not (folder / file).is_file()]:
        others = [
            f"; these are files of data.version={other}"
            for other in VERSIONS
            if other != name and all((folder / file).is_file() for file in VERSIONS[other].files)
        ]
        raise Refused(
            f"data.root={root}: has no {' and no '.join(missing)}{''.join(others)}; unpack "
            f"ml-{name}.zip there, which {HOME} offers"
        )
    items = _by_number(folder, version, 1, version.item)
    for number, (_, genres) in items.items():
        if not genres:
            raise Refused(f"{folder / version.files[1]}: item {number} has no genre; it needs one")
    users = _by_number(folder, version, 2, version.user) if version.user else {}
    return Movies(items, users, list(_ratings(folder, version, items, users)))


def _ratings(
    folder: Path, version: Version, items: Mapping[str, Item], users: dict[str, dict[str, str]]
) -> Iterator[tuple[str, str, float]]:
    seen = set()
    for place, (user, item, stars, _) in _rows(folder, version, 0):
        value = _read(place, float, stars)
        if value not in version.stars:
            low, high = version.stars[0], version.stars[-1]
            raise Refused(
                f"{place}: rating {stars}; ratings are {low}, {version.stars[1]} … {high}"
            )
        if item not in items:
            raise Refused(f"{place}: item {item} is not in {version.files[1]}, which is incomplete")
        if version.user and user not in users:
            raise Refused(f"{place}: user {user} is not in {version.files[2]}, which is incomplete")
        if (user, item) in seen:
            raise Refused(f"{place}: user {user} rates item {item} a second time; once is right")
        seen.add((user, item))
        users.setdefault(user, {})
        yield user, item, value


def _by_number(
    folder: Path, version: Version, which: int, reader: Callable[[Sequence[str]], Any]
) -> dict[str, Any]:
    """What each line of a file says about the number in its first column."""
    table: dict[str, Any] = {}
    for place, (number, *row) in _rows(folder, version, which):
        if number in table:
            raise Refused(f"{place}: number {number} a second time; once is right")
        table[number] = _read(place, reader, row)
    return table


def _rows(folder: Path, version: Version, which: int) -> Iterator[tuple[str, list[str]]]:
    """The columns of each line of a file, and the place of the line for messages."""
    file, separator = folder / version.files[which], version.separator
    content = text(file, "utf-8-sig" if separator == "," else "latin-1")
    if separator == ",":
        rows = _csv(file, content)
    else:
        separator = "\t" if file.name == "u.data" else separator
        lines = content.removesuffix("\n").split("\n")  # a title may contain other line breaks
        rows = (line.rstrip("\r").split(separator) for line in lines)
    for number, row in enumerate(rows, start=1 + (separator == ",")):
        place = f"{file}: line {number}"
        if len(row) != version.columns[which]:
            raise Refused(f"{place}: has {len(row)} columns, not {version.columns[which]}")
        yield place, row


def _csv(file: Path, content: str) -> Iterator[list[str]]:
    """The rows of a CSV file below the names of its columns."""
    reader = csv.reader(io.StringIO(content, newline=""), strict=True)
    try:
        if (names := ",".join(next(reader, []))) != HEADERS[file.name]:
            raise Refused(f"{file}: line 1: {names[:80]}; it should be {HEADERS[file.name]}")
        yield from reader
    except csv.Error as error:
        raise Refused(f"{file}: line {reader.line_num}: not CSV ({error})") from error


def _read(place: str, reader: Callable[[Any], Any], value: Any) -> Any:
    """The result of the reader, which raises `ValueError` where the line is malformed."""
    try:
        return reader(value)
    except ValueError as error:
        raise Refused(f"{place}: malformed ({error})") from error
