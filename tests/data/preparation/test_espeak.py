"""Synthesised speech: a function of the version and the arguments, whatever was spoken before."""

from __future__ import annotations

import ctypes.util
import hashlib
import sys

import numpy as np
import pytest

from metarun.data.preparation import espeak
from metarun.data.preparation.espeak import Voices
from metarun.data.spoken_words import LANGUAGES, VOICES
from metarun.errors import Refused

TAKE = ("7", "fi+m4", 170, 50, 50)
OF_VERSION = {  # sha256 of the samples of TAKE
    "1.52.0": "b183c3ad44ff3dff9dcb70efcde8a3ec4d4d71223edc1244cf25787cf04d26fd",
}


def test_a_word_is_the_same_in_each_new_synthesiser() -> None:
    """Within one, the second take of a word differs: espeak-ng keeps state."""
    sounds = []
    for _ in range(3):
        with Voices() as voices:
            sounds.append(voices.say(*TAKE))
            voices.say("100", "en+f1", 120, 30, 30)
    assert np.array_equal(sounds[0], sounds[1]) and np.array_equal(sounds[0], sounds[2])


def test_a_word_is_known_to_the_byte() -> None:
    with Voices() as voices:
        if voices.version not in OF_VERSION:
            pytest.skip(f"no sound is stored for espeak-ng {voices.version}")
        assert voices.rate == 22_050
        digest = hashlib.sha256(voices.say(*TAKE).tobytes()).hexdigest()
        assert digest == OF_VERSION[voices.version]


def test_speed_and_pitch_are_those_asked_for() -> None:
    with Voices() as voices:
        slow = voices.say("7", "en+m1", 100, 50, 50)
    with Voices() as voices:
        fast = voices.say("7", "en+m1", 200, 50, 50)
    assert 1.5 < len(slow) / len(fast) < 2.5
    assert 0.1 < np.abs(fast).max() <= 1


def test_all_languages_and_voices_are_there_and_speak() -> None:
    with Voices() as voices:
        for split, names in LANGUAGES.items():
            for language in names.split():
                assert len(voices.say("3", f"{language}+{VOICES[split][0]}", 150, 50, 50)) > 2000
            for voice in VOICES[split]:
                assert len(voices.say("3", f"fi+{voice}", 150, 50, 50)) > 2000


def test_without_espeak_one_line_says_how_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    with pytest.raises(Refused, match=r"pip install 'metarun\[speech\]'.*espeak-ng"), Voices():
        pass


def test_a_library_without_voices_is_refused(monkeypatch, tmp_path) -> None:
    path, _ = espeak._located()
    monkeypatch.setattr(espeak, "_located", lambda: (path, str(tmp_path)))
    with pytest.raises(Refused, match="voices are missing"), Voices():
        pass
    monkeypatch.undo()
    test_a_word_is_the_same_in_each_new_synthesiser()  # the refused one has been unloaded


def test_a_voice_that_is_missing_is_named() -> None:
    with pytest.raises(Refused, match="xx\\+none is missing"), Voices() as voices:
        voices.say("1", "xx+none", 150, 50, 50)
