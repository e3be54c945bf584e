"""Listing of a folder of pictures: classes, files, and mistakes."""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metarun.data.preparation.pictures import READABLE, SUFFIXES
from metarun.errors import Refused

IGNORED = ("__MACOSX", "@eaDir")  # made by systems for previews and attributes
LAYOUT = "it should hold a folder of pictures for each class: DIR/cat/*.jpg, DIR/dog/*.jpg, …"
MIN_PICTURES = 2  # per class: a support and a query item


class File(NamedTuple):
    """Path of a picture, its name within the class, and size and time to detect changes."""

    path: str
    name: str
    bytes: int
    mtime_ns: int


@dataclass
class Listing:
    """Classes and their files, in an order that does not depend on the file system.

    Attributes:
        root: the listed folder.
        classes: name (`cat`, or `Greek/character01`) → files.
        mistakes: a line for each unusable file or class, with its path.
        stray: pictures above the class folders.
    """

    root: Path
    classes: dict[str, list[File]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    def add(self, name: str, path: str, files: list[File]) -> None:
        """Add a class, or a mistake if it cannot be used."""
        name = unicodedata.normalize("NFC", printable(name))  # macOS stores é as two characters
        if name in self.classes:
            self.mistakes.append(f"{printable(path)}: another folder has the same name in Unicode")
        elif len(files) < MIN_PICTURES:
            count = f"{len(files)} picture" + "s" * (len(files) != 1)
            count += "" if files else f" ({' '.join(READABLE)})"
            self.mistakes.append(
                f"{printable(path)}: {count}; a class needs {MIN_PICTURES} at least"
            )
        else:
            self.classes[name] = sorted(files, key=lambda file: file.name)


def list_classes(root: Path, depth: int = 1) -> Listing:
    """List the classes: the folders `depth` levels below `root`, with all pictures below them.

    Names that start with a dot and files without a picture suffix are skipped. Links are followed,
    but a class visits each folder once and no parent of `root`, so loops end.
    """
    listing = Listing(root)
    above = {_identity(path) for path in (root.resolve(), *root.resolve().parents)}
    for name, path in _folders(str(root), "", depth, above, listing):
        listing.add(name, path, pictures(path, above, listing.mistakes))
    return listing


def pictures(folder: str, above: set[tuple[int, int]], mistakes: list[str]) -> list[File]:
    """All pictures in `folder` and below; unusable files are added to `mistakes`."""
    files: list[File] = []
    seen = {*above, _identity(folder)}
    pending = [("", folder)]
    while pending:
        prefix, path = pending.pop()
        for entry in _entries(path, mistakes):
            name = f"{prefix}{entry.name}"
            with _collect_errors(entry.path, mistakes):
                if entry.is_dir():
                    if (identity := _identity(entry.path)) not in seen:
                        seen.add(identity)
                        pending.append((f"{name}/", entry.path))
                elif is_picture(entry.name):
                    info = entry.stat()
                    if stat.S_ISREG(info.st_mode) and info.st_size:
                        files.append(File(entry.path, name, info.st_size, info.st_mtime_ns))
                    else:  # reading a pipe or a device may never end
                        reason = "empty" if stat.S_ISREG(info.st_mode) else "not a file"
                        mistakes.append(f"{printable(entry.path)}: {reason}")
    return files


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder`, sorted, without ignored ones.

    Raises:
        Refused: the folder cannot be read.
    """
    mistakes: list[str] = []
    names = [entry.name for entry in _entries(str(folder), mistakes) if os.path.isdir(entry.path)]
    if mistakes:
        raise Refused(*mistakes)
    return names


def is_visible(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is neither hidden nor made by a system for previews and attributes."""
    return entry.name[0] != "." and entry.name not in IGNORED


def is_picture(name: str) -> bool:
    """Whether the name has a picture suffix, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def printable(name: str) -> str:
    """A file name as valid text: undecodable bytes become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _collect_errors(path: str, mistakes: list[str]) -> Iterator[None]:
    """Add an `OSError` to `mistakes` instead of raising it."""
    try:
        yield
    except OSError as error:
        mistakes.append(f"{printable(path)}: cannot be read ({error.strerror})")


def _folders(
    path: str, name: str, depth: int, above: set[tuple[int, int]], listing: Listing
) -> Iterator[tuple[str, str]]:
    """Name and path of each folder `depth` levels below `path`; pictures on the way are stray."""
    for entry in _entries(path, listing.mistakes):
        with _collect_errors(entry.path, listing.mistakes):
            if not entry.is_dir():
                if is_picture(entry.name):
                    listing.stray.append(printable(entry.path))
            elif _identity(entry.path) in above:
                continue
            elif depth == 1:
                yield f"{name}{entry.name}", entry.path
            else:
                yield from _folders(entry.path, f"{name}{entry.name}/", depth - 1, above, listing)


def _entries(path: str, mistakes: list[str]) -> list[os.DirEntry[str]]:
    """Entries of a folder sorted by name, without hidden and ignored ones."""
    visible: list[os.DirEntry[str]] = []
    with _collect_errors(path, mistakes), os.scandir(path) as entries:
        visible = [entry for entry in entries if is_visible(entry)]
    return sorted(visible, key=lambda entry: entry.name)


def _identity(path: str | Path) -> tuple[int, int]:
    """Device and inode, equal for a folder and all links to it."""
    info = os.stat(path)
    return info.st_dev, info.st_ino
