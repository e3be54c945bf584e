"""The Free Spoken Digit Dataset: real recordings of ten digits by six speakers.

Jackson et al., https://github.com/Jakobovski/free-spoken-digit-dataset (CC BY-SA 4.0).
"""

from __future__ import annotations

import hashlib
import itertools
import logging
import os
import re
from collections.abc import Container, Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np

from metarun.config.schema import Place
from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts, Split
from metarun.data.duplicates import counted, named
from metarun.data.own_recordings import OwnRecordings
from metarun.data.preparation.archives import members
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.images import Images
from metarun.data.preparation.sound import read_sounds
from metarun.data.preparation.spectrograms import Mels, Seconds, Spoken, padded
from metarun.data.preparation.unpacked import unpacked
from metarun.data.recorded import recorded
from metarun.data.recordings import ClipsOfQuery, Speakers
from metarun.errors import Refused, refusing_os_errors

PREPARATION = 1  # increase it when the array prepared from the same files changes
DIGITS = "0123456789"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")  # all male
TAKES = 50  # of each digit by each speaker
RATE = 8000  # of the official files
NAMES = tuple(f"{d}_{s}_{k}.wav" for s in SPEAKERS for d in DIGITS for k in range(TAKES))
PARTS = {  # digits or speakers of train, val and test
    "digits": {"train": "0123", "val": "456", "test": "789"},
    "speakers": {"train": SPEAKERS[:4], "val": SPEAKERS[4:5], "test": SPEAKERS[5:]},
}
ADVICE = (
    "put the folder recordings of https://github.com/Jakobovski/free-spoken-digit-dataset (21 MB) "
    "there, or recordings.zip"
)

log = logging.getLogger(__name__)


class SpokenDigits(OwnRecordings):
    """60 classes of a digit by a speaker, such as `theo/7`, or the 6 speakers; 8 kHz, mono.

    Args:
        root: folder with `recordings/7_theo_0.wav` and so on, with these files, or with
            `recordings.zip`.
        cache: folder of prepared data sets; the array is kept in its subfolder `spoken_digits`.
        classes: `digits`, a digit by one speaker; `speakers`, whatever they say (2 / 2 / 2).
        split: of the classes `digits`: digits 0–3 / 4–6 / 7–9, so that words are new; or 4 / 1 / 1
            `speakers`, so that voices are new.
        mels: frequencies of a spectrogram, see `metarun.data.preparation.mel`.
        seconds: length of a clip.
        clips: clips of a query in validation and test.
        speakers: speakers of an episode, see `metarun.data.recordings.Recordings`.
    """

    def __init__(
        self,
        *,
        root: Place,
        cache: Place,
        classes: Literal["digits", "speakers"] = "digits",
        split: Literal["digits", "speakers"] = "digits",
        mels: Mels = 128,
        seconds: Seconds = 1.0,
        clips: ClipsOfQuery = 2,
        speakers: Speakers = "any",
    ) -> None:
        self.root = unpacked(root)
        self.folder = Path(cache).expanduser() / "spoken_digits" / f"{mels}"
        self.of_speakers = classes == "speakers"
        super().__init__(mels, seconds)
        self.clips, self.speakers = clips, speakers
        self.classes = {part: list(SPEAKERS[2 * i :][:2]) for i, part in enumerate(SPLITS)}
        if not self.of_speakers:
            key = 1 if split == "digits" else 0
            pairs = list(itertools.product(SPEAKERS, DIGITS))
            self.classes = {
                part: ["/".join(pair) for pair in pairs if pair[key] in chosen]
                for part, chosen in PARTS[split].items()
            }

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, each with 50 recordings, or 500 of a speaker; reads no file."""
        size = TAKES * 10 if self.of_speakers else TAKES
        return {part: Facts.of(dict.fromkeys(names, size)) for part, names in self.classes.items()}

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all files, for seconds.

        Raises:
            Refused: files are missing or unusable, or the cache is not writable.
        """
        source, stamp = self._source()
        notes: dict[str, Any] = {}
        images = prepared(
            self.folder,
            f"spoken_digits {PREPARATION} mels {self.mels} {stamp}",
            lambda: padded(self._read(source, notes), self.mels, notes),
            notes,
            self.root,
        )
        if changed := images.notes["changed"]:
            log.warning(
                "data=spoken_digits: %d recordings of another rate than 8 kHz or of several "
                "channels, resampled and mixed: %s",
                *(len(changed), named(changed)),
            )
        voices = np.repeat(np.arange(len(SPEAKERS)), 10 * TAKES)
        images = _by_speaker(images) if self.of_speakers else images
        settings = (self.seconds, self.clips, self.speakers)
        return recorded(images, self.classes, voices, *settings)

    def _source(self) -> tuple[Path, str]:
        """The folder of the files, or the archive; and a hash of the state of its files."""
        with refusing_os_errors(f"data.root={self.root}", f"cannot be read; {ADVICE}"):
            archive = self.root / "recordings.zip"
            if archive.is_file():
                files = [archive]
            else:
                folder = self.root / "recordings"
                folder = folder if folder.is_dir() else self.root
                present = set(os.listdir(folder))
                _check(self.root, present)
                files = [folder / name for name in NAMES]
            state = [f"{f.name} {(s := f.stat()).st_size} {s.st_mtime_ns}" for f in files]
        digest = hashlib.sha256("\n".join(state).encode()).hexdigest()
        return (archive if files == [archive] else files[0].parent), digest

    def _read(self, source: Path, notes: dict[str, Any]) -> Iterator[Spoken]:
        """The recordings of each class, ordered by speaker and digit.

        Args:
            notes: gets `changed`, the names of files of another rate or of several channels.
        """
        contents: dict[str, Any] = {name: source / name for name in NAMES}
        if source.suffix == ".zip":
            found = members(source, lambda name: Path(name).name in contents)
            contents = {Path(name).name: content for name, content in found}
            _check(self.root, contents)
        sounds = list(read_sounds({str(source / n): contents[n] for n in NAMES}).values())
        found = zip(NAMES, sounds, strict=True)
        notes["changed"] = [n for n, s in found if (s.rate, s.channels) != (RATE, 1)]
        for first in range(0, len(NAMES), TAKES):
            digit, speaker, _ = re.split("[_.]", NAMES[first], maxsplit=2)
            files = list(NAMES[first : first + TAKES])
            samples = [sound.samples for sound in sounds[first : first + TAKES]]
            yield Spoken(f"{speaker}/{digit}", samples, files)


def _check(root: Path, present: Container[str]) -> None:
    """Refuse a root that lacks some of the recordings."""
    if missing := [name for name in NAMES if name not in present]:
        problem = counted({f"of {len(NAMES):,} recordings missing": missing})
        raise Refused(f"data.root={root}: {problem}; {ADVICE}")


def _by_speaker(images: Images) -> Images:
    """The ten digits of a speaker as one class."""
    parts = np.split(np.array(images.digests), len(SPEAKERS))
    digests = tuple(hashlib.sha256("".join(part).encode()).hexdigest() for part in parts)
    counts = (10 * TAKES,) * len(SPEAKERS)
    return Images(images.items, SPEAKERS, counts, digests, images.copies, images.notes)
