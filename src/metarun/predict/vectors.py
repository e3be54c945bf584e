"""Features that a user names: the rows of an `.npz` file."""

from __future__ import annotations

from pathlib import Path

from metarun.data.vectors import matrix, rows_of
from metarun.errors import Refused
from metarun.predict.files import Query

LAYOUT = "it should be an .npz file with arrays of features and of labels"


def vector_classes(
    place: Path, key: str, columns: tuple[str, str] = ("x", "y")
) -> dict[str, list[str]]:
    """The rows of each label, as `FILE.npz[3]`.

    Args:
        key: the key by which the user named the file, for messages.
        columns: names of the arrays of features and labels.

    Raises:
        Refused: there is no such file, or it has another form.
    """
    _check(place, f"{key}={place}", LAYOUT)
    rows = rows_of(place, *columns, f"{key}={place}")
    matrix(place, columns[0])
    return {name: [f"{place}[{row}]" for row in found] for name, found in rows.items()}


def vector_query(place: Path, features: str = "x") -> Query:
    """The rows of the array `features`.

    Raises:
        Refused: there is no such file, it has another form or no rows.
    """
    _check(place, f"query={place}", "it should be an .npz file with an array of features")
    items = matrix(place, features)
    if not len(items):
        raise Refused(f"query={place}: {features} has no rows")
    return [f"{place}[{row}]" for row in range(len(items))], {}


def _check(place: Path, typed: str, layout: str) -> None:
    if not place.is_file():
        raise Refused(f"{typed}: {'not a file' if place.exists() else 'no such file'}; {layout}")
