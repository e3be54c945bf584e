"""Sentences that a user names: a table or a text file for each class, and a text file to label."""

from __future__ import annotations

from pathlib import Path

from metarun.data.preparation.text_files import is_table, table, text
from metarun.errors import Refused
from metarun.predict.files import Query

LAYOUT = (
    "it should be a CSV, TSV or JSONL file with the columns text,label, or a folder with CLASS.txt "
    "files"
)


def sentence_classes(
    place: Path, key: str, columns: tuple[str, str] = ("text", "label")
) -> dict[str, list[str]]:
    """The sentences of each class: rows of a table, or the lines of `CLASS.txt` in a folder.

    Args:
        key: the key by which the user named the place, for messages.
        columns: names of the columns of sentences and labels in a table.

    Raises:
        Refused: the place has another form, a row has no text or label, or a class no sentences.
    """
    if place.is_dir():
        files = sorted(path for path in place.glob("*.txt") if path.name[0] != ".")
        classes = {file.stem: _sentences(file) for file in files}
    elif place.is_file():
        classes = _table(place, key, columns)
    else:
        raise Refused(f"{key}={place}: no such file or folder; {LAYOUT}")
    if not classes:
        raise Refused(f"{key}={place}: no classes; {LAYOUT}")
    return classes


def sentence_query(place: Path) -> Query:
    """The lines of a text file, without blank ones.

    Raises:
        Refused: it is not a text file.
    """
    if not place.is_file() or is_table(place):
        raise Refused(f"query={place}: should be a text file with a sentence on each line")
    return _sentences(place), {}


def _sentences(file: Path) -> list[str]:
    lines = (" ".join(line.split()) for line in text(file).splitlines())
    return [line for line in lines if line]


def _table(place: Path, key: str, columns: tuple[str, str]) -> dict[str, list[str]]:
    classes: dict[str, list[str]] = {}
    for sentence, label in table(place, columns, f"{key}={place}"):
        classes.setdefault(label, []).append(sentence)
    return dict(sorted(classes.items()))
