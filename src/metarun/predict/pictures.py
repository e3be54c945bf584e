"""Pictures that a user names: a folder for each class, or a query of any form."""

from __future__ import annotations

import os
import stat
import unicodedata
from pathlib import Path

from metarun.data.preparation.class_folders import (
    LAYOUT,
    is_picture,
    pictures,
    printable,
    subfolders,
)
from metarun.data.preparation.pictures import READABLE
from metarun.data.sentences import text
from metarun.errors import Refused

Query = tuple[list[str], dict[str, str]]  # items, and those of them that cannot be used: reasons


def picture_classes(place: Path, key: str) -> dict[str, list[str]]:
    """The paths of the pictures of each class, which is a folder in `place` with all below it.

    Args:
        key: the key by which the user named the folder, for messages.

    Raises:
        Refused: there are no classes, a class has no pictures, or a file cannot be used.
    """
    if not place.is_dir():
        reason = "not a folder" if place.exists() else "no such folder"
        raise Refused(f"{key}={place}: {reason}; {LAYOUT}")
    classes: dict[str, list[str]] = {}
    mistakes: list[str] = []
    for folder in subfolders(place):
        found = pictures(str(place / folder), set(), mistakes)
        name = unicodedata.normalize("NFC", printable(folder))
        classes.setdefault(name, []).extend(sorted(file.path for file in found))
    if not classes:
        raise Refused(f"{key}={place}: no classes; {LAYOUT}")
    mistakes += [
        f"{key}={place}: the class {name} has no pictures ({' '.join(READABLE)})"
        for name, files in classes.items()
        if not files
    ]
    if mistakes:
        raise Refused(*mistakes)
    return classes


def picture_query(place: Path) -> Query:
    """The paths of the pictures in a query: a picture, a folder with all below it, or a list.

    A list is a text file with a path on each line, relative to the working directory or else to
    the folder of the list.

    Raises:
        Refused: there are no pictures, or the file is no list.
    """
    if place.is_dir():
        mistakes: list[str] = []
        files = [file.path for file in pictures(str(place), set(), mistakes)]
        unusable = dict(line.rsplit(": ", 1) for line in mistakes)
        if not files and not unusable:
            raise Refused(f"query={place}: no pictures ({' '.join(READABLE)})")
        return sorted([*files, *unusable]), unusable
    if not place.exists():
        raise Refused(f"query={place}: no such file or folder")
    if is_picture(place.name):
        files = [str(place)]
    else:
        files = [_found(line.strip(), place) for line in _lines(place) if line.strip()]
    return files, {file: why for file in files if (why := why_unusable(file))}


def _lines(place: Path) -> list[str]:
    try:
        return text(place).splitlines()
    except Refused as refused:
        raise Refused(
            f"query={place}: should be a picture, a folder, or a text file with a path on each "
            f"line ({refused.mistakes[0].removeprefix(f'{place}: ')})"
        ) from None


def _found(line: str, listed_in: Path) -> str:
    beside = listed_in.parent / line
    return str(beside) if not os.path.exists(line) and beside.exists() else line


def why_unusable(file: str) -> str:
    """Why a file cannot be a picture; empty if it can. Reading a pipe may never end."""
    try:
        info = os.stat(file)
    except (OSError, ValueError) as error:
        return f"cannot be read ({getattr(error, 'strerror', None) or error})"
    if not stat.S_ISREG(info.st_mode):
        return "not a file"
    return "" if info.st_size else "empty"
