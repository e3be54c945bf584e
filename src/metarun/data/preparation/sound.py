"""Reads sound files as mono at 16 kHz."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

from metarun.data.preparation.mel import RATE, WINDOW
from metarun.data.preparation.pixels import Broken
from metarun.errors import Refused

HIGHEST = 768_000  # samples per second that recorders have; the filter grows with the rate


class Sound(NamedTuple):
    """A sound as it is used, and what its file has.

    Attributes:
        samples: (samples,) float64, mono at 16 kHz.
        rate: samples per second in the file.
        channels: number of channels in the file.
    """

    samples: np.ndarray
    rate: int
    channels: int


def read_sound(file: str | Path | bytes) -> Sound:
    """Read a file that libsndfile can read (WAV, FLAC, OGG, MP3, …), or its content as bytes.

    Channels are averaged, and other rates are resampled by a polyphase filter.

    Raises:
        Broken: the file is empty, cannot be read, has an impossible rate, or is shorter than a
            window of the spectrogram.
        Refused: soundfile is not installed.
    """
    try:
        import soundfile
    except ImportError as error:
        raise Refused("data: reading sounds needs pip install 'metarun[speech]'") from error
    try:
        content = file if isinstance(file, bytes) else Path(file).read_bytes()
        samples, rate = soundfile.read(io.BytesIO(content), dtype="float64", always_2d=True)
    except OSError as error:
        raise Broken(f"cannot be read ({error.strerror})") from error
    except (soundfile.SoundFileError, ValueError, TypeError) as error:
        reason = "not a sound file, or of an unknown format" if content else "empty"
        raise Broken(reason) from error
    if rate > HIGHEST:
        raise Broken(f"{rate:,} samples per second; a sound should have {HIGHEST:,} at most")
    channels = samples.shape[1]
    mono = resampled(samples.mean(axis=1), rate)
    if len(mono) < WINDOW:
        raise Broken(
            f"{1000 * len(mono) / RATE:.0f} ms long; a sound should last "
            f"{1000 * WINDOW / RATE:.0f} ms at least"
        )
    if not np.isfinite(mono).all():
        raise Broken("not all samples are numbers")
    return Sound(mono, rate, channels)


def read_sounds(files: Mapping[str, str | Path | bytes]) -> dict[str, Sound]:
    """Read several files, by the names that messages use.

    Raises:
        Refused: some cannot be used; a line for each of the first ten.
    """
    sounds, mistakes = {}, []
    for name, file in files.items():
        try:
            sounds[name] = read_sound(file)
        except Broken as broken:
            mistakes.append(f"{name}: {broken}")
    if mistakes:
        more = len(mistakes) - 10
        raise Refused(*mistakes[:10], *[f"and {more} more unusable files"] * (more > 0))
    return sounds


def resampled(sound: np.ndarray, rate: int) -> np.ndarray:
    """The sound (samples,) of this rate at 16 kHz."""
    if rate == RATE:
        return sound
    from scipy.signal import resample_poly

    common = math.gcd(rate, RATE)
    return resample_poly(sound, RATE // common, rate // common)
