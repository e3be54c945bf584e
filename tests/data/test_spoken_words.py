"""Spoken words: whole languages and voices held out, the same to the byte, resumed to the bit."""

from __future__ import annotations

import ctypes.util
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from metarun.data import spoken_words as module
from metarun.data.classes import Facts
from metarun.data.spoken_words import LANGUAGES, NUMBERS, VOICES, SpokenWords
from metarun.runs import checkpoint
from tests.conftest import signal_in_step

SMALL = {"train": "en fr", "val": "tr", "test": "fi"}
WORDS = [
    *("data=spoken_words", "data.mels=16", "backbone=crnn", "backbone.filters=4", "ways=2"),
    *("train_queries=2", "queries=2", "steps=4", "eval_every=2", "val_episodes=4"),
    *("test_episodes=4", "threads=1", "logger=none"),
]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few and short takes of few words."""
    monkeypatch.setattr(module, "LANGUAGES", SMALL)
    monkeypatch.setattr(module, "NUMBERS", (2, 6))
    monkeypatch.setattr(module, "TAKES", 3)
    monkeypatch.setattr(module, "SPEEDS", (250, 300))


def test_whole_languages_and_voices_are_held_out() -> None:
    for parts in (LANGUAGES.values(), VOICES.values()):
        words = [word for part in parts for word in (part.split() if type(part) is str else part)]
        assert len(set(words)) == len(words)
    facts = SpokenWords(cache="unused").facts()
    assert {part: fact.classes for part, fact in facts.items()} == {
        part: len(names.split()) * len(NUMBERS) for part, names in LANGUAGES.items()
    }
    assert sum(fact.classes for fact in facts.values()) == 390


def test_the_facts_are_those_of_the_recordings(small: None, tmp_path: Path) -> None:
    data = SpokenWords(cache=str(tmp_path), mels=16)
    assert data.facts()["val"] == Facts(2, 12)
    splits = data.load()
    for part, facts in data.facts().items():
        assert dict(splits[part].facts.counts) == dict(facts.counts)
    assert splits["train"].names == ("en/2", "en/6", "fr/2", "fr/6")
    assert not splits["train"].copies
    assert set(np.bincount(splits["train"].voices)) == {24}


def test_they_are_the_same_to_the_byte_when_made_again(small: None, tmp_path: Path) -> None:
    first, again = (SpokenWords(cache=str(tmp_path / k), mels=16).load() for k in "ab")
    assert np.array_equal(first["test"].items, again["test"].items)
    assert first["test"].sha256 == again["test"].sha256


def test_takes_of_a_voice_differ_in_speed_pitch_and_intonation(small: None) -> None:
    word = module.spoken("fi/6", "test")
    assert len(set(word.files)) == len(word.files) == 12
    takes = np.array([file.split()[1:] for file in word.files[:3]], int)
    assert all(len(set(column)) == 3 for column in takes.T)
    for column, (low, high) in zip(takes.T, ((250, 300), (30, 70), (30, 70)), strict=True):
        assert np.all((low <= column) & (column < high))


def test_an_interrupted_run_resumes_with_the_same_result(small: None, metarun) -> None:
    words = (*WORDS, "algo=maml", "data.speakers=others", "backbone.pools=[2,2]")
    assert metarun(*words, "out=whole")[0] == 0
    with pytest.MonkeyPatch.context() as patch:
        signal_in_step(patch, 3)
        assert metarun(*words, "out=run")[0] == 130
    assert metarun("resume=run")[0] == 0
    results = [json.loads(Path(run, "result.json").read_text()) for run in ("whole", "run")]
    assert results[0]["test"] == results[1]["test"]
    whole, resumed = (
        checkpoint.load_state(Path(run, "checkpoints/last.pt"))["learner"]
        for run in ("whole", "run")
    )
    assert all(torch.equal(tensor, resumed[key]) for key, tensor in whole.items())


def test_the_protocol_says_how_items_are_normalised(small: None, metarun) -> None:
    assert metarun(*WORDS, "algo=nearest_centroid", "out=run")[0] == 0
    protocol = json.loads(Path("run/result.json").read_text())["protocol"]
    assert protocol["normalisation"].startswith("mean 0 and standard deviation 1")
    assert protocol["data_settings"]["clips"] == 2
    assert Path("run/episodes.png").is_file()


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data.speakers=one", "queries=3"],
         "data.speakers=one ways=2 shots=1 queries=3: no speaker has as many classes with as "
         "many items; data.speakers=any ignores speakers"),
        (["augmentation=images"],
         "augmentation=images: changes pictures, and the items of spoken_words are none; use "
         "augmentation=none"),
        (["data.mels=3"], "data.mels=3: should be greater than or equal to 8"),
        (["data.speakers=two"], "data.speakers=two: should be 'any', 'one' or 'others'"),
    ],
)  # fmt: skip
def test_wrong_requests_write_nothing(small: None, metarun, words: list[str], line: str) -> None:
    code, _, err = metarun(*WORDS, *words, "out=run")
    assert (code, err[-1:]) == (2, [f"metarun: {line}"])
    assert not Path("run").exists()


def test_without_espeak_one_line_says_how_to_install_it(metarun, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "espeakng_loader", None)
    monkeypatch.setattr(ctypes.util, "find_library", lambda name: None)
    code, _, err = metarun(*WORDS, "out=run")
    assert code == 2 and len(err) == 1
    assert err[0].startswith("metarun: data=spoken_words: needs espeak-ng: pip install 'metarun[sp")
    assert not Path("run").exists()
