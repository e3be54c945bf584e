"""Kinds of files that folders of classes hold: pictures and sounds; and files that do not count."""

from __future__ import annotations

import os
from typing import NamedTuple

from metarun.data.preparation.pictures import READABLE, SUFFIXES

IGNORED = ("__MACOSX", "@eaDir")  # made by systems for previews and attributes


class Kind(NamedTuple):
    """A kind of files.

    Attributes:
        noun: of one such file.
        readable: suffixes of files that can be read, in lower case.
        suffixes: those, and others of the same kind, so that no file is silently skipped.
        layout: what a folder of them should hold, for messages.
    """

    noun: str
    readable: tuple[str, ...]
    suffixes: tuple[str, ...]
    layout: str

    def named(self, name: str) -> bool:
        """Whether the file name has a suffix of this kind, in upper or lower case."""
        return os.path.splitext(name)[1].lower() in self.suffixes


PICTURES = Kind(
    "picture",
    READABLE,
    SUFFIXES,
    "it should hold a folder of pictures for each class: DIR/cat/*.jpg, DIR/dog/*.jpg, …",
)
SOUNDS = Kind(
    "recording",
    (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif"),
    (".wav", ".flac", ".ogg", ".mp3", ".aiff", ".aif", ".opus", ".m4a", ".aac", ".wma"),
    "it should hold a folder of recordings for each class: DIR/yes/*.wav, DIR/no/*.wav, …",
)


def is_visible(entry: os.DirEntry[str]) -> bool:
    """Whether the entry is neither hidden nor made by a system for previews and attributes."""
    return entry.name[0] != "." and entry.name not in IGNORED
