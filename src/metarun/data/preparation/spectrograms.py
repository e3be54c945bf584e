"""Recordings as prepared items: spectrograms that are padded to one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from metarun.data.preparation.images import Class
from metarun.data.preparation.mel import as_bytes, log_mel

Mels = Annotated[int, Field(ge=8, le=256)]


class Spoken(NamedTuple):
    """The recordings of a class.

    Attributes:
        name: name of the class.
        sounds: each (samples,), mono at 16 kHz.
        files: names of the recordings.
    """

    name: str
    sounds: Iterable[np.ndarray]
    files: list[str]


def padded(classes: Iterable[Spoken], mels: int, notes: dict[str, Any]) -> Iterator[Class]:
    """Classes of items (1, mels, longest) uint8, where `longest` is that of the longest recording.

    The values are those of `mel.as_bytes`; 0 pads shorter recordings. All classes are read before
    the first is returned.

    Args:
        notes: gets the number of frames of each item, `frames`.
    """
    made = [
        (name, [as_bytes(log_mel(sound, mels)) for sound in sounds], files)
        for name, sounds, files in classes
    ]
    lengths = notes["frames"] = [item.shape[-1] for _, items, _ in made for item in items]
    longest = max(lengths)
    for name, items, files in made:
        block = np.zeros((len(items), 1, mels, longest), np.uint8)
        for row, item in zip(block, items, strict=True):
            row[0, :, : item.shape[-1]] = item
        yield Class(name, block, files)
