"""Reading of sound files: mono at 16 kHz, or a reason why not."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from metarun.data.preparation.pixels import Broken
from metarun.data.preparation.sound import read_sound
from metarun.errors import Refused

soundfile = pytest.importorskip("soundfile")


def wav(samples: np.ndarray, rate: int, **how: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **{"format": "WAV", "subtype": "PCM_16", **how})
    return file.getvalue()


def tone(rate: int, seconds: float = 0.5, hertz: float = 300.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(rate * seconds)) / rate)


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100])
def test_a_tone_of_any_rate_is_the_same_tone(rate: int) -> None:
    sound = read_sound(wav(tone(rate), rate))
    assert (sound.rate, sound.channels) == (rate, 1)
    inner = slice(500, -500)  # the resampling filter knows nothing beyond the ends
    np.testing.assert_allclose(sound.samples[inner], tone(16_000)[inner], atol=2e-3)


def test_channels_are_averaged() -> None:
    sound = read_sound(wav(np.stack([tone(16_000), -tone(16_000) / 2], 1), 16_000))
    assert sound.channels == 2
    np.testing.assert_allclose(sound.samples, tone(16_000) / 4, atol=1e-4)


def test_other_formats_are_read(tmp_path) -> None:
    path = tmp_path / "a.flac"
    path.write_bytes(wav(tone(16_000), 16_000, format="FLAC"))
    np.testing.assert_allclose(read_sound(path).samples, tone(16_000), atol=1e-4)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"RIFF nothing", "not a sound file"),
        (b"\0" * 4000, "not a sound file"),
        (wav(tone(16_000), 16_000)[:30], "not a sound file"),
        (wav(np.zeros(0), 16_000), "0 ms long; a sound should last 64 ms at least"),
        (wav(tone(8000, 0.063), 8000), "63 ms long; a sound should last 64 ms at least"),
        (
            wav(tone(16_000), 2**31 - 1),
            "2,147,483,647 samples per second; a sound should",
        ),
        (wav(np.full(2000, np.nan), 16_000, subtype="FLOAT"), "not all samples are numbers"),
    ],
)
def test_an_unusable_file_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(Broken, match=reason):
        read_sound(content)


def test_a_missing_file_has_a_reason(tmp_path) -> None:
    with pytest.raises(Broken, match=r"cannot be read \(No such file"):
        read_sound(tmp_path / "none.wav")


def test_the_package_is_named_where_it_is_missing(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(Refused, match=r"pip install 'metarun\[speech\]'"):
        read_sound(b"")
