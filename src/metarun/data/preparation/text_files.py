"""Text files of the user or of a data set, and tables of named columns in them."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from metarun.data.duplicates import named
from metarun.errors import Refused, printable
from metarun.files import read_or_refuse

LIMIT = 32 << 20  # bytes of a text file; the official ones have at most 3 MB
LARGEST_TABLE = 512 << 20  # bytes
LONGEST_NAME = 40  # characters of the name of a column in a message
SEPARATORS = {".csv": ",", ".tsv": "\t", ".tab": "\t"}
JSON_LINES = (".jsonl", ".ndjson")


def text(path: Path, encoding: str = "utf-8-sig", limit: int | None = None) -> str:
    """Read a text file; line ends are kept.

    Raises:
        Refused: the file cannot be read, is too large, empty, or not UTF-8.
    """
    content = read_or_refuse(path, limit or LIMIT)
    if not content.strip():
        raise Refused(f"{path}: the file is empty")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: not text in UTF-8 (at byte {error.start})") from error


def is_table(path: Path) -> bool:
    """Whether the name is that of a table: CSV, TSV or JSON lines."""
    return path.suffix.lower() in (*SEPARATORS, *JSON_LINES)


def table(path: Path, columns: Sequence[str], typed: str) -> Iterator[list[str]]:
    """The values of some columns in each row, with blanks and line ends as single blanks.

    Args:
        path: a CSV or TSV file whose first line names the columns, or JSON lines: an object on
            each line, whose values are text or numbers.
        columns: names of columns.
        typed: `key=value` by which the user named the file, for messages.

    Raises:
        Refused: the file cannot be read, is not such a table, or a row has no value in one of the
            columns.
    """
    suffix = path.suffix.lower()
    if not is_table(path):
        raise Refused(
            f"{typed}: should be a table: {', '.join((*SEPARATORS, *JSON_LINES))}, not {suffix}"
        )
    content = text(path, limit=LARGEST_TABLE)
    of = _json_rows(content, typed) if suffix in JSON_LINES else None
    for line, row in of or _csv_rows(content, SEPARATORS[suffix], columns, typed):
        values = [
            " ".join(str(row.get(c) if row.get(c) is not None else "").split()) for c in columns
        ]
        if missing := [c for c, value in zip(columns, values, strict=True) if not value]:
            raise Refused(f"{typed}: line {line} has no {missing[0]}")
        yield values


def _csv_rows(
    content: str, separator: str, columns: Sequence[str], typed: str
) -> Iterator[tuple[int, dict[str, Any]]]:
    lines = io.StringIO(content, newline="")
    reader = csv.DictReader(lines, strict=True, delimiter=separator)
    try:
        found = list(reader.fieldnames or ())
        if missing := [column for column in columns if column not in found]:
            raise Refused(
                f"{typed}: no column {' and '.join(missing)}; its first line names "
                f"{named([printable(name, LONGEST_NAME) for name in found])}"
            )
        for row in reader:
            if None in row:  # a comma without quotation marks, for example
                columns_here = len(found) + len(row[None])
                raise Refused(
                    f"{typed}: line {reader.line_num} has {columns_here} columns, and the first "
                    f"line {len(found)}"
                )
            yield reader.line_num, row
    except csv.Error as error:
        kind = "TSV" if separator == "\t" else "CSV"
        raise Refused(f"{typed}: not {kind} (line {reader.reader.line_num}: {error})") from error


def _json_rows(content: str, typed: str) -> Iterator[tuple[int, dict[str, Any]]]:
    for number, line in enumerate(content.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise Refused(f"{typed}: line {number} is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise Refused(f"{typed}: line {number} is no JSON object")
        yield number, {k: v for k, v in row.items() if isinstance(v, str | int | float)}
