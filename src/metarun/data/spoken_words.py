"""Number words of many languages, spoken by espeak-ng; needs no network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from metarun.config.schema import Place
from metarun.data.classes import Facts, Split
from metarun.data.own_recordings import OwnRecordings
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.espeak import Voices
from metarun.data.preparation.images import Class
from metarun.data.preparation.sound import resampled
from metarun.data.preparation.spectrograms import Mels, Seconds, Spoken, padded
from metarun.data.recorded import recorded
from metarun.data.recordings import ClipsOfQuery, Speakers

PREPARATION = 1  # increase it when the sounds change for the same version of espeak-ng

# Whole families of languages are held out, and each split has voices of its own. Languages of one
# split in validation and test are unrelated, so that no two of their words sound alike.
LANGUAGES = {
    "train": "en de sv fr es ro ru pl lv el sq hy fa hi",
    "val": "tr ar qu ja",
    "test": "fi ta ka cmn vi sw eu haw",
}
VOICES = {  # variants without breath, whose noise differs from process to process
    "train": ("m1", "f1", "m3", "Annie"),
    "val": ("m2", "steph", "m7", "Andrea"),
    "test": ("m4", "f4", "Michael", "belinda"),
}
NUMBERS = (*range(13), 20, 100)
TAKES = 10  # of each word by each voice
SPEEDS, PITCHES, INTONATIONS = (120, 220), (30, 70), (30, 70)


class SpokenWords(OwnRecordings):
    """The words for 0 to 12, 20 and 100 in 26 languages; 4 voices speak each word 10 times.

    Classes are named by language and number, such as `fi/7`. Takes of a voice differ in speed,
    pitch and intonation. Neither the languages of a split nor its voices are in another one. The
    sounds are the same to the byte for one version of espeak-ng.

    Args:
        cache: folder of prepared data sets; the array is kept in its subfolder `spoken_words`.
        mels: frequencies of a spectrogram, see `metarun.data.preparation.mel`.
        seconds: length of a clip.
        clips: clips of a query in validation and test.
        speakers: voices of an episode, see `metarun.data.recordings.Recordings`.
    """

    def __init__(
        self,
        *,
        cache: Place,
        mels: Mels = 128,
        seconds: Seconds = 1.0,
        clips: ClipsOfQuery = 2,
        speakers: Speakers = "any",
    ) -> None:
        self.folder = Path(cache).expanduser() / "spoken_words" / f"{mels}"
        super().__init__(mels, seconds)
        self.clips, self.speakers = clips, speakers
        self.classes = {
            split: [f"{language}/{number}" for language in names.split() for number in NUMBERS]
            for split, names in LANGUAGES.items()
        }

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, each with 40 recordings."""
        items = len(VOICES["train"]) * TAKES
        return {name: Facts.of(dict.fromkeys(words, items)) for name, words in self.classes.items()}

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call synthesises them, in a minute.

        Raises:
            Refused: espeak-ng is not installed, or the cache is not writable.
        """
        with Voices() as voices:
            key = f"spoken_words {PREPARATION} espeak-ng {voices.version} mels {self.mels}"
        notes: dict[str, Any] = {}
        images = prepared(self.folder, key, lambda: self._prepare(notes), notes)
        by_class = np.repeat(np.arange(len(VOICES["train"])), TAKES)
        speakers = np.tile(by_class, len(images.names))
        return recorded(images, self.classes, speakers, self.seconds, self.clips, self.speakers)

    def _prepare(self, notes: dict[str, Any]) -> Iterator[Class]:
        return padded(
            (spoken(name, split) for split, names in self.classes.items() for name in names),
            self.mels,
            notes,
        )


def spoken(name: str, split: str) -> Spoken:
    """All takes of a word, with a random generator that is seeded by its name."""
    language, number = name.split("/")
    rng = np.random.Generator(np.random.PCG64([PREPARATION, *name.encode()]))
    sounds, files = [], []
    with Voices() as voices:
        for voice in VOICES[split]:
            ranges = (SPEEDS, PITCHES, INTONATIONS)
            for take in np.stack([_spread(rng, *limits) for limits in ranges], 1).tolist():
                sound = voices.say(number, f"{language}+{voice}", *take)
                sounds.append(resampled(sound, voices.rate))
                files.append(f"{voice} " + " ".join(map(str, take)))
    return Spoken(name, sounds, files)


def _spread(rng: np.random.Generator, low: int, high: int) -> np.ndarray:
    """Whole numbers (TAKES) between the two, one in each of as many equal parts, shuffled."""
    shares = (np.arange(TAKES) + rng.random(TAKES)) / TAKES
    return rng.permutation(np.floor(low + (high - low) * shares).astype(int))
