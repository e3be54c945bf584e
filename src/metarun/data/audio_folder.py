"""Your own recordings, with one folder per class."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import NonNegativeInt

from metarun.config.schema import Place
from metarun.data.classes import Split
from metarun.data.duplicates import named
from metarun.data.own_folder import Fractions, Name, OwnFolder
from metarun.data.own_recordings import OwnRecordings
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.class_folders import Depth
from metarun.data.preparation.kinds import SOUNDS
from metarun.data.preparation.mel import RATE
from metarun.data.preparation.picture_classes import first
from metarun.data.preparation.sound import read_sounds
from metarun.data.preparation.spectrograms import Mels, Seconds, Spoken, frames_of, padded
from metarun.data.recorded import recorded
from metarun.errors import Mistakes, Refused

PREPARATION = 1  # increase it when the array prepared from the same files changes

log = logging.getLogger(__name__)


class AudioFolder(OwnFolder, OwnRecordings):
    """Recordings in one folder per class, as log-mel spectrograms of their middle.

    They are prepared as those of `metarun.data.spoken_digits`: mono at 16 kHz. Longer recordings
    are cut to the middle `seconds`, shorter ones are padded with silence.

    Args:
        root, depth, join, fractions, split_seed, split_file: see `OwnFolder`.
        name: name of the set in tables, titles and results; by default that of the folder.
        cache: folder of prepared data sets; the array is kept in its subfolder `audio_folder`.
        mels: frequencies of a spectrogram, see `metarun.data.preparation.mel`.
        seconds: length of an item.
    """

    kind = SOUNDS

    def __init__(
        self,
        *,
        root: Place | None,
        name: Name | None = None,
        cache: Place,
        mels: Mels = 128,
        seconds: Seconds = 1.0,
        depth: Depth = 1,
        join: bool = False,
        fractions: Fractions = (0.6, 0.2, 0.2),
        split_seed: NonNegativeInt = 0,
        split_file: Place | None = None,
    ) -> None:
        OwnFolder.__init__(self, root, depth, join, fractions, split_seed, split_file)
        OwnRecordings.__init__(self, mels, seconds)
        self.folder = Path(cache).expanduser() / "audio_folder"

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all recordings.

        Raises:
            Refused: with a line for each unusable file and class, or the cache is not writable.
        """
        listing, frames, notes = self.listing, frames_of(self.seconds), {}
        if listing.mistakes:
            raise Refused(*first(listing.mistakes, self.root))
        if listing.stray:
            log.warning("recordings outside class folders, ignored: %s", named(listing.stray))
        place = f"{self.root.resolve()}\n{self.mels} {frames}".encode("utf-8", "backslashreplace")
        files = {name: [file[1:] for file in files] for name, files in listing.classes.items()}
        state = hashlib.sha256(repr(files).encode("utf-8", "backslashreplace")).hexdigest()
        images = prepared(
            self.folder / hashlib.sha256(place).hexdigest()[:12],
            f"audio_folder {PREPARATION} mels {self.mels} frames {frames} {state}",
            lambda: padded(self._read(notes), self.mels, notes, frames),
            notes,
            self.root,
        )
        if changed := images.notes.get("changed"):
            log.warning(
                "recordings of another rate than 16 kHz or of several channels, resampled and "
                "mixed: %s",
                named(changed),
            )
        voices = np.zeros(len(images.items), np.int64)
        return recorded(images, self.classes, voices, self.seconds)

    def _read(self, notes: dict[str, Any]) -> Iterator[Spoken]:
        """The recordings of each class.

        Args:
            notes: gets `changed`, the names of files of another rate or of several channels.

        Raises:
            Refused: some cannot be read.
        """
        mistakes, changed = Mistakes(), notes.setdefault("changed", [])
        for name, files in self.listing.classes.items():
            sounds = mistakes.catch(read_sounds, {file.path: file.path for file in files}) or {}
            samples = [sound.samples for sound in sounds.values()]
            found = zip(files, sounds.values(), strict=False)
            changed += [
                f"{name}/{file.name}" for file, s in found if (s.rate, s.channels) != (RATE, 1)
            ]
            yield Spoken(name, samples, [file.name for file in files])
        mistakes.settle()
