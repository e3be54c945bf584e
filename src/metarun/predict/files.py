"""Pictures or recordings that a user names: a folder for each class, or a query of any form."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

from metarun.data.preparation.class_folders import files_in, printable, subfolders
from metarun.data.preparation.kinds import Kind
from metarun.data.preparation.text_files import text
from metarun.errors import Refused

Query = tuple[list[str], dict[str, str]]  # items, and those of them that cannot be used: reasons


def file_classes(kind: Kind, place: Path, key: str) -> dict[str, list[str]]:
    """The paths of the files of each class, which is a folder in `place` with all below it.

    Args:
        kind: of the files.
        key: the key by which the user named the folder, for messages.

    Raises:
        Refused: there are no classes, a class has no files, or a file cannot be used.
    """
    if not place.is_dir():
        reason = "not a folder" if place.exists() else "no such folder"
        raise Refused(f"{key}={place}: {reason}; {kind.layout}")
    classes: dict[str, list[str]] = {}
    mistakes: list[str] = []
    for folder in subfolders(place):
        found = files_in(str(place / folder), set(), mistakes, kind)
        name = unicodedata.normalize("NFC", printable(folder))
        classes.setdefault(name, []).extend(sorted(file.path for file in found))
    if not classes:
        raise Refused(f"{key}={place}: no classes; {kind.layout}")
    mistakes += [
        f"{key}={place}: the class {name} has no {kind.noun}s ({' '.join(kind.readable)})"
        for name, files in classes.items()
        if not files
    ]
    if mistakes:
        raise Refused(*mistakes)
    return classes


def file_query(kind: Kind, place: Path) -> Query:
    """The paths of the files in a query: a file, a folder with all below it, or a list.

    A list is a text file with a path on each line, relative to the working directory or else to
    the folder of the list.

    Raises:
        Refused: there are no files of this kind, or the file is no list.
    """
    if place.is_dir():
        mistakes: list[str] = []
        files = [file.path for file in files_in(str(place), set(), mistakes, kind)]
        unusable = dict(line.rsplit(": ", 1) for line in mistakes)
        if not files and not unusable:
            raise Refused(f"query={place}: no {kind.noun}s ({' '.join(kind.readable)})")
        return sorted([*files, *unusable]), unusable
    if not place.exists():
        raise Refused(f"query={place}: no such file or folder")
    if kind.named(place.name):
        files = [str(place)]
    else:
        files = [_found(line.strip(), place) for line in _lines(place, kind) if line.strip()]
    return files, {file: why for file in files if (why := why_unusable(file))}


def _lines(place: Path, kind: Kind) -> list[str]:
    try:
        return text(place).splitlines()
    except Refused as refused:
        raise Refused(
            f"query={place}: should be a {kind.noun}, a folder, or a text file with a path on each "
            f"line ({refused.mistakes[0].removeprefix(f'{place}: ')})"
        ) from None


def _found(line: str, listed_in: Path) -> str:
    beside = listed_in.parent / line
    return str(beside) if not os.path.exists(line) and beside.exists() else line


def why_unusable(file: str) -> str:
    """Why a file cannot be read; empty if it can. Reading a pipe may never end."""
    try:
        info = os.stat(file)
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(info.st_mode):
        return "not a file"
    return "" if info.st_size else "empty"
