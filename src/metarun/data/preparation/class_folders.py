"""Listing of a folder of pictures or sounds: classes, files, and mistakes."""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from metarun.data.preparation.kinds import PICTURES, Kind, is_visible
from metarun.errors import Refused

MIN_FILES = 2  # per class: a support and a query item

Depth = Annotated[int, Field(ge=1, le=8)] | Literal["leaf"]
"""Levels of folders down to a class; `leaf`: each folder that holds files itself is a class."""


class File(NamedTuple):
    """Path of a file, its name within the class, and size and time to detect changes."""

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
        stray: files above the class folders.
        kind: of the files.
    """

    root: Path
    classes: dict[str, list[File]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)
    kind: Kind = PICTURES

    def add(self, name: str, path: str, files: list[File]) -> None:
        """Add a class, or a mistake if it cannot be used."""
        name = unicodedata.normalize("NFC", printable(name))  # macOS stores é as two characters
        if name in self.classes:
            self.mistakes.append(f"{printable(path)}: another folder has the same name in Unicode")
        elif len(files) < MIN_FILES:
            count = f"{len(files)} {self.kind.noun}" + "s" * (len(files) != 1)
            count += "" if files else f" ({' '.join(self.kind.readable)})"
            self.mistakes.append(f"{printable(path)}: {count}; a class needs {MIN_FILES} at least")
        else:
            self.classes[name] = sorted(files, key=lambda file: file.name)


def list_classes(
    root: Path,
    depth: Depth = 1,
    kind: Kind = PICTURES,
    parts: Mapping[str, Path] | None = None,
) -> Listing:
    """List the classes: the folders `depth` levels below `root`, with all files below them.

    Names that start with a dot and files without a suffix of the kind are skipped. Links are
    followed, but a class visits each folder once and no parent of `root`, so loops end.

    Args:
        depth: with `leaf`, a class is each folder that holds files itself, and has only these.
        kind: of the files.
        parts: folders in place of `root`, by name. Folders of one name in several of them form one
            class, and the names of files begin with that of the part.
    """
    listing = Listing(root, kind=kind)
    found: dict[str, tuple[str, list[File]]] = {}
    for part, folder in (parts or {"": root}).items():
        above = {_identity(path) for path in (folder.resolve(), *folder.resolve().parents)}
        for name, path in _folders(str(folder), "", depth, above, listing):
            files = files_in(path, above, listing.mistakes, kind, below=depth != "leaf")
            if depth == "leaf" and not files and _holds_folders(path):
                continue
            if part:
                files = [file._replace(name=f"{part}/{file.name}") for file in files]
            found[name] = (path, [*found.get(name, ("", []))[1], *files])
    for name, (path, files) in found.items():
        listing.add(name, path, files)
    listing.mistakes = list(dict.fromkeys(listing.mistakes))
    return listing


def files_in(
    folder: str,
    above: set[tuple[int, int]],
    mistakes: list[str],
    kind: Kind = PICTURES,
    below: bool = True,
) -> list[File]:
    """All files of a kind in `folder` and, with `below`, in folders below it.

    Unusable files are added to `mistakes`.
    """
    files: list[File] = []
    seen = {*above, _identity(folder)}
    pending = [("", folder)]
    while pending:
        prefix, path = pending.pop()
        for entry in _entries(path, mistakes):
            name = f"{prefix}{entry.name}"
            with _collect_errors(entry.path, mistakes):
                if entry.is_dir():
                    if below and (identity := _identity(entry.path)) not in seen:
                        seen.add(identity)
                        pending.append((f"{name}/", entry.path))
                elif kind.named(entry.name):
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
    path: str, name: str, depth: Depth, above: set[tuple[int, int]], listing: Listing
) -> Iterator[tuple[str, str]]:
    """Name and path of each folder `depth` levels below `path`; files on the way are stray.

    With `leaf`, all folders below `path`, and files in `path` are stray.
    """
    for entry in _entries(path, listing.mistakes):
        with _collect_errors(entry.path, listing.mistakes):
            if not entry.is_dir():
                if listing.kind.named(entry.name) and (depth != "leaf" or not name):
                    listing.stray.append(printable(entry.path))
                continue
            if (identity := _identity(entry.path)) in above:
                continue
            if depth in (1, "leaf"):
                yield f"{name}{entry.name}", entry.path
            if depth != 1:
                deeper = depth if depth == "leaf" else depth - 1
                yield from _folders(
                    entry.path, f"{name}{entry.name}/", deeper, {*above, identity}, listing
                )


def _holds_folders(path: str) -> bool:
    return any(entry.is_dir() for entry in _entries(path, []))


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
