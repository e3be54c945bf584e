"""Log-mel spectrograms of sounds, with the settings of MetaAudio (Heggan et al. 2022).

The scale and the norm of the filters are Slaney's, as in the defaults of librosa.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

RATE = 16_000  # samples per second of every sound
WINDOW, HOP = 1024, 512  # samples of a frame, and between the starts of two
LOWEST, RANGE = -60.0, 110.0  # decibels: of value 0, and from there to value 255
HERTZ_PER_MEL, KNEE, OCTAVE = 200 / 3, 1000.0, np.log(6.4) / 27  # linear below 1 kHz, log above


def frames_in(samples: int) -> int:
    """The number of frames of a sound with this number of samples."""
    return 1 + samples // HOP


def log_mel(sound: np.ndarray, mels: int) -> np.ndarray:
    """Mel spectrogram of a sound in decibels, (mels, frames), low frequencies first.

    The sound (samples,) is scaled to mean 0 and standard deviation 1. The frames of a Hann window
    are centred at multiples of `HOP`, with zeros around the sound. 10⁻⁶ is added to the power, so a
    silent frame has −60 decibels.
    """
    spread = sound.std()
    sound = (sound - sound.mean()) / (spread if spread else 1.0)
    padded = np.pad(sound, WINDOW // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::HOP]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    power = np.abs(np.fft.rfft(frames * hann)) ** 2
    return 10 * np.log10(_sparse(mels) @ power.T + 10 ** (LOWEST / 10))


def as_bytes(decibels: np.ndarray) -> np.ndarray:
    """Decibels as uint8 in steps of 0.4; beyond −60 and 50 decibels they are clipped."""
    return np.rint((decibels - LOWEST) / RANGE * 255).clip(0, 255).astype(np.uint8)


def filters(mels: int) -> np.ndarray:
    """Triangular filters (mels, WINDOW // 2 + 1) from 0 to 8 kHz, of equal width in mel.

    Each has the area 2 over its width in hertz (Slaney 1998, Auditory Toolbox).
    """
    edges = _hertz(np.linspace(0, _mel(RATE / 2), mels + 2))
    frequencies = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return np.minimum(rising, falling).clip(0) * area[:, None]


@cache
def _sparse(mels: int) -> Any:
    """The filters as a sparse matrix: fast, and the same sums with every BLAS library."""
    from scipy.sparse import csr_array

    return csr_array(filters(mels))


def _mel(hertz: float) -> float:
    return KNEE / HERTZ_PER_MEL + np.log(hertz / KNEE) / OCTAVE  # from 1 kHz on


def _hertz(mel: np.ndarray) -> np.ndarray:
    knee = KNEE / HERTZ_PER_MEL
    return np.where(mel < knee, mel * HERTZ_PER_MEL, KNEE * np.exp(OCTAVE * (mel - knee)))
