"""Recordings as prepared items: spectrograms that are padded to one length."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated, Any, NamedTuple

import numpy as np
from pydantic import Field

from metarun.data.preparation.images import Class
from metarun.data.preparation.mel import HOP, RATE, as_bytes, log_mel

Mels = Annotated[int, Field(ge=8, le=256)]
Seconds = Annotated[float, Field(ge=0.1, le=30)]


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


class Scale(NamedTuple):
    """Mean and standard deviation of the values of spectrograms; items are normalised by them."""

    mean: float
    deviation: float

    @classmethod
    def of(cls, items: Sequence[np.ndarray]) -> Scale:
        """The scale of the values of these items."""
        values = np.concatenate([item.ravel() for item in items])
        return cls(float(values.mean()), float(values.std()) or 1.0)

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Values of uint8, normalised, in float32."""
        return (values.astype(np.float32) - np.float32(self.mean)) / np.float32(self.deviation)


def frames_of(seconds: float) -> int:
    """The number of frames of a clip."""
    return round(seconds * RATE / HOP)


def centred(sound: np.ndarray, mels: int, frames: int) -> np.ndarray:
    """The middle of the spectrogram of a sound, (mels, frames or fewer) uint8."""
    whole = as_bytes(log_mel(sound, mels))
    start = max(0, whole.shape[-1] - frames) // 2
    return whole[:, start : start + frames]


def padded(
    classes: Iterable[Spoken], mels: int, notes: dict[str, Any], frames: int | None = None
) -> Iterator[Class]:
    """Classes of items (1, mels, longest) uint8, where `longest` is that of the longest recording.

    The values are those of `mel.as_bytes`; 0 pads shorter recordings. All classes are read before
    the first is returned.

    Args:
        notes: gets the number of frames of each item, `frames`.
        frames: of an item, the middle of its recording; by default, recordings stay whole.
    """
    made = [
        (
            name,
            [centred(s, mels, frames) if frames else as_bytes(log_mel(s, mels)) for s in sounds],
            files,
        )
        for name, sounds, files in classes
    ]
    lengths = notes["frames"] = [item.shape[-1] for _, items, _ in made for item in items]
    longest = frames or max(lengths)
    for name, items, files in made:
        block = np.zeros((len(items), 1, mels, longest), np.uint8)
        for row, item in zip(block, items, strict=True):
            row[0, :, : item.shape[-1]] = item
        yield Class(name, block, files)
