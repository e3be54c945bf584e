"""Preparation of recordings of the user, as a data set prepares its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from metarun.data.preparation.pixels import Broken
from metarun.data.preparation.sound import read_sound
from metarun.data.preparation.spectrograms import Scale, centred, frames_of


class OwnRecordings:
    """Base class of data sets whose items are log-mel spectrograms of recordings.

    Args:
        mels: frequencies of a spectrogram, see `metarun.data.preparation.mel`.
        seconds: length of a clip.
    """

    own_items: ClassVar[str] = "recordings"

    def __init__(self, mels: int, seconds: float) -> None:
        self.mels, self.seconds = mels, seconds

    def prepare_own(
        self, files: Sequence[str], scale: Scale | None = None
    ) -> list[np.ndarray | Broken]:
        """The middle of each file, (1, mels, frames): shorter ones are padded with silence.

        Args:
            scale: normalises the values, float32; `None`: uint8, as they are stored.
        """
        frames, found = frames_of(self.seconds), []
        for file in files:
            try:
                clip = centred(read_sound(file).samples, self.mels, frames)
            except Broken as broken:
                found.append(broken)
                continue
            clip = np.pad(clip, ((0, 0), (0, frames - clip.shape[-1])))[None]
            found.append(clip if scale is None else scale(clip))
        return found
