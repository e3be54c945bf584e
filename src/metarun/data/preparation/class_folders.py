"""What lies in a folder of pictures: its classes, their files, and what cannot be one."""

from __future__ import annotations

import contextlib
import os
import stat
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from metarun.data.preparation.pictures import SUFFIXES
from metarun.errors import Refused

LEFT_ALONE = ("__MACOSX", "@eaDir")  # made by systems: previews and attributes, not pictures
FEWEST = 2  # pictures of a class: one to learn from, one to be asked


class File(NamedTuple):
    """Where a picture's file is, its name within its class, and what tells its versions apart."""

    path: str
    name: str
    bytes: int
    mtime_ns: int


@dataclass
class Listing:
    """Classes and files by name, in an order that no file system decides.

    Attributes:
        root: what was listed.
        classes: name (`cat`, or `Greek/character01`) → files.
        mistakes: a line for each file or class that cannot be used, with its path.
        stray: pictures that lie above the folders of classes.
    """

    root: Path
    classes: dict[str, list[File]] = field(default_factory=dict)
    mistakes: list[str] = field(default_factory=list)
    stray: list[str] = field(default_factory=list)

    def enter(self, name: str, path: str, files: list[File]) -> None:
        """Take note of a class, or of why it is none."""
        name = unicodedata.normalize("NFC", told(name))  # macOS writes é as two characters
        if name in self.classes:
            self.mistakes.append(f"{told(path)}: a second folder of this name in Unicode")
        elif len(files) < FEWEST:
            count = f"{len(files)} picture" + "s" * (len(files) != 1)
            self.mistakes.append(f"{told(path)}: {count}; a class needs {FEWEST} at least")
        else:
            self.classes[name] = sorted(files, key=lambda file: file.name)


def listing(root: Path, depth: int = 1) -> Listing:
    """The classes below `root`, `depth` folders down; all pictures below such a folder are its own.

    Names that begin with a dot and files that are not called as pictures are passed over. Links are
    followed, each folder of a class once, and never upwards: a loop ends where it began.
    """
    found = Listing(root)
    above = {_identity(path) for path in (root.resolve(), *root.resolve().parents)}
    for name, path in _folders(str(root), "", depth, above, found):
        found.enter(name, path, pictures(path, above, found.mistakes))
    return found


def pictures(folder: str, above: set[tuple[int, int]], mistakes: list[str]) -> list[File]:
    """All pictures in `folder` and below; what is called so and is none goes to `mistakes`."""
    files: list[File] = []
    seen = {*above, _identity(folder)}
    below = [("", folder)]
    while below:
        prefix, path = below.pop()
        for entry in _entries(path, mistakes):
            name = f"{prefix}{entry.name}"
            with _noting(entry.path, mistakes):
                if entry.is_dir():
                    if (identity := _identity(entry.path)) not in seen:
                        seen.add(identity)
                        below.append((f"{name}/", entry.path))
                elif is_picture(entry.name):
                    known = entry.stat()
                    if stat.S_ISREG(known.st_mode) and known.st_size:
                        files.append(File(entry.path, name, known.st_size, known.st_mtime_ns))
                    else:  # a pipe or a device might never end
                        reason = "empty" if stat.S_ISREG(known.st_mode) else "not a file"
                        mistakes.append(f"{told(entry.path)}: {reason}")
    return files


def subfolders(folder: Path) -> list[str]:
    """Names of the folders in `folder` that may be classes or splits, sorted.

    Raises:
        Refused: it cannot be read.
    """
    mistakes: list[str] = []
    names = [entry.name for entry in _entries(str(folder), mistakes) if os.path.isdir(entry.path)]
    if mistakes:
        raise Refused(*mistakes)
    return names


def is_picture(name: str) -> bool:
    """By its suffix, in upper or lower case."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def told(name: str) -> str:
    """A file's name as it can be written down: bytes that are no text become `\\xNN`."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


@contextlib.contextmanager
def _noting(path: str, mistakes: list[str]) -> Iterator[None]:
    """What cannot be read goes to `mistakes`."""
    try:
        yield
    except OSError as error:
        mistakes.append(f"{told(path)}: cannot be read ({error.strerror})")


def _folders(
    path: str, name: str, depth: int, above: set[tuple[int, int]], found: Listing
) -> Iterator[tuple[str, str]]:
    """Name and path of each folder `depth` levels down."""
    for entry in _entries(path, found.mistakes):
        with _noting(entry.path, found.mistakes):
            if not entry.is_dir():
                if is_picture(entry.name):
                    found.stray.append(told(entry.path))
            elif _identity(entry.path) in above:
                continue
            elif depth == 1:
                yield f"{name}{entry.name}", entry.path
            else:
                yield from _folders(entry.path, f"{name}{entry.name}/", depth - 1, above, found)


def _entries(path: str, mistakes: list[str]) -> list[os.DirEntry[str]]:
    shown: list[os.DirEntry[str]] = []
    with _noting(path, mistakes), os.scandir(path) as entries:
        shown = [e for e in entries if e.name[0] != "." and e.name not in LEFT_ALONE]
    return sorted(shown, key=lambda entry: entry.name)


def _identity(path: str | Path) -> tuple[int, int]:
    """The same for a folder and every link to it."""
    known = os.stat(path)
    return known.st_dev, known.st_ino
