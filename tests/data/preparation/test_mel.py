"""Mel spectrograms: equal to those of librosa, whose scale and norm are Slaney's."""

from __future__ import annotations

import numpy as np
import pytest

from metarun.data.preparation.mel import HOP, RATE, as_bytes, filters, frames_in, log_mel

# 10·log10(librosa.feature.melspectrogram(y=y, sr=16000, n_fft=1024, hop_length=512, n_mels=8) +
# 1e-6) of the sound `chirp`, scaled to mean 0 and deviation 1; librosa 0.11
LIBROSA = [
    [23.562716, 22.351494, -5.193131, -5.857341, -5.858048, -5.857976],
    [9.897054, 25.838835, 20.530112, -23.819331, -59.674296, -37.53775],
    [-14.180661, 13.169054, 25.812932, 20.328809, -18.758826, -35.89299],
    [-21.036649, -42.127357, 14.149319, 24.694747, 22.535663, 7.496544],
    [-27.628751, -59.961932, -50.395725, 9.193156, 21.67882, 23.619605],
    [-34.702146, -59.999338, -59.997058, -59.842034, -17.094522, 14.519512],
    [-39.974519, -59.999971, -59.999966, -59.999579, -59.998916, -35.363817],
    [-6.840233, -3.811868, -3.811868, -3.811868, -3.811868, -3.811565],
]


def chirp() -> np.ndarray:
    """A tone that rises from 200 Hz to 2.5 kHz, a weak one at 7 kHz and a hum at 60 Hz."""
    t = np.arange(3000) / RATE
    rising = np.sin(2 * np.pi * (200 * t + 6000 * t * t))
    return rising + 0.1 * np.sin(2 * np.pi * 7000 * t) + 0.05 * np.cos(2 * np.pi * 60 * t)


def test_a_spectrogram_is_that_of_librosa() -> None:
    np.testing.assert_allclose(log_mel(chirp(), 8), LIBROSA, rtol=0, atol=1e-4)


def test_loudness_and_offset_of_a_recording_do_not_matter() -> None:
    np.testing.assert_allclose(log_mel(0.01 * chirp() + 3, 40), log_mel(chirp(), 40), atol=1e-6)


@pytest.mark.parametrize(("seconds", "frames"), [(1, 32), (5, 157), (0.5, 16)])
def test_frames_are_those_of_metaaudio(seconds: float, frames: int) -> None:
    """128 × 157 for 5 seconds (Heggan et al. 2022)."""
    samples = int(seconds * RATE)
    assert frames_in(samples) == frames
    assert log_mel(np.ones(samples), 128).shape == (128, frames)


def test_silence_is_the_lowest_value() -> None:
    assert (as_bytes(log_mel(np.zeros(4 * HOP), 16)) == 0).all()


def test_a_tone_is_brightest_in_the_filter_of_its_frequency() -> None:
    frequencies = np.linspace(0, RATE / 2, filters(40).shape[1])
    for tone in (440.0, 1000.0, 3300.0):
        sound = np.sin(2 * np.pi * tone * np.arange(RATE) / RATE)
        middle = log_mel(sound, 40)[:, 16]
        nearest = np.abs(frequencies - tone).argmin()
        assert filters(40)[middle.argmax(), nearest] > 0


def test_bytes_are_steps_of_decibels() -> None:
    assert as_bytes(np.array([-70.0, -60.0, -5.0, 50.0, 99.0])).tolist() == [0, 0, 128, 255, 255]
