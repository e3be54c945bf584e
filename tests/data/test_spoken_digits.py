"""Spoken digits: classes and splits by digit and speaker, and what their files may be."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from metarun.data import spoken_digits as module
from metarun.data.spoken_digits import SPEAKERS, SpokenDigits
from metarun.errors import Refused

soundfile = pytest.importorskip("soundfile")
SMALL = tuple(f"{d}_{s}_{k}.wav" for s in SPEAKERS for d in range(10) for k in range(2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two tones for each digit and speaker, the pitch of which says which."""
    root = tmp_path_factory.mktemp("digits")
    (root / "recordings").mkdir()
    rng = np.random.default_rng(0)
    for i, name in enumerate(SMALL):
        tone = np.sin(np.arange(800 + i) * (0.3 + i / 200)) + rng.normal(0, 0.01, 800 + i)
        soundfile.write(root / "recordings" / name, 0.5 * tone, 8000)
    return root


@pytest.fixture
def root(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(module, "TAKES", 2)
    monkeypatch.setattr(module, "NAMES", SMALL)
    shutil.copytree(folder, tmp_path / "root")
    return tmp_path / "root"


def made(root: Path, **how) -> SpokenDigits:
    return SpokenDigits(root=str(root), cache=str(root.parent / "cache"), mels=16, **how)


@pytest.mark.parametrize(
    ("how", "sizes", "last"),
    [
        ({}, (24, 18, 18), "yweweler/9"),
        ({"split": "speakers"}, (40, 10, 10), "yweweler/9"),
        ({"classes": "speakers"}, (2, 2, 2), "yweweler"),
    ],
)
def test_splits_hold_out_digits_or_speakers(root: Path, how, sizes, last) -> None:
    data = made(root, **how)
    splits = data.load()
    assert tuple(len(split.names) for split in splits.values()) == sizes
    assert splits["test"].names[-1] == last
    for part, facts in data.facts().items():
        assert dict(facts.counts) == dict(splits[part].facts.counts)
    held_out = 0 if how else 1  # of speaker/digit
    parts = [{name.split("/")[held_out] for name in split.names} for split in splits.values()]
    assert len(set.union(*parts)) == sum(map(len, parts))


def test_items_and_speakers_are_those_of_the_files(root: Path) -> None:
    whole, speakers = made(root).load()["test"], made(root, classes="speakers").load()["test"]
    c = whole.names.index("theo/8")
    item = int(whole.first[c]) + 1
    assert SPEAKERS[whole.voices[item]] == "theo"
    position = SMALL.index("8_theo_1.wav")
    assert item == position
    assert whole.lengths[item] == 1 + (800 + position) * 2 // 512
    assert SPEAKERS[speakers.voices[speakers.first[0]]] == "theo" and speakers.counts[0] == 20


def test_the_archive_has_the_same_recordings(root: Path) -> None:
    expected = made(root).load()["test"]
    with zipfile.ZipFile(root / "recordings.zip", "w") as archive:
        for file in (root / "recordings").iterdir():
            archive.write(file, f"recordings/{file.name}")
    shutil.rmtree(root / "recordings")
    assert made(root).load()["test"].sha256 == expected.sha256


def test_files_of_another_rate_or_stereo_are_converted_and_named(
    root: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = made(root).load()["test"]
    assert not caplog.records
    file = root / "recordings" / "7_theo_0.wav"
    samples, _ = soundfile.read(file)
    soundfile.write(file, np.stack([samples, samples], 1), 8000)
    stereo = made(root).load()["test"]
    assert stereo.sha256 == before.sha256
    assert "1 recordings of another rate than 8 kHz or of several channels" in caplog.text
    assert "7_theo_0.wav" in caplog.text


def test_a_changed_file_is_prepared_again(root: Path) -> None:
    before = made(root).load()["test"]
    soundfile.write(
        root / "recordings" / "7_theo_0.wav", np.random.default_rng(0).random(900), 8000
    )
    assert made(root).load()["test"].sha256 != before.sha256


def spoil(root: Path, *names: str, content: bytes | None) -> None:
    for name in names:
        file = root / "recordings" / name
        file.unlink() if content is None else file.write_bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"no sound", "not a sound file, or of an unknown format"),
        (None, "of 120 recordings missing (0_lucas_0.wav)"),
    ],
)
def test_unusable_files_are_refused_and_nothing_is_written(
    root: Path, metarun, content: bytes | None, reason: str
) -> None:
    spoil(root, "0_lucas_0.wav", content=content)
    words = ("data=spoken_digits", f"data.root={root}", f"data.cache={root.parent / 'cache'}")
    code, _, err = metarun(*words, "queries=1", "logger=none", "out=run")
    assert code == 2 and len(err) == 1
    assert reason in err[0] and "Traceback" not in err[0]
    assert not Path("run").exists()
    assert not list((root.parent / "cache").rglob("*.npy"))


def test_a_recording_shorter_than_a_window_is_refused(root: Path) -> None:
    soundfile.write(root / "recordings" / "0_lucas_0.wav", np.zeros(400), 8000)
    with pytest.raises(Refused, match=r"0_lucas_0\.wav: 50 ms long; a sound should last 64 ms"):
        made(root).load()


def test_many_unusable_files_are_counted(root: Path) -> None:
    spoil(root, *SMALL[:15], content=b"")
    with pytest.raises(Refused) as refused:
        made(root).load()
    assert len(refused.value.mistakes) == 11
    assert refused.value.mistakes[-1] == "and 5 more unusable files"


@pytest.mark.parametrize("place", ["nowhere", "empty"])
def test_a_folder_without_sounds_is_refused(root: Path, place: str) -> None:
    (root / "empty").mkdir()
    with pytest.raises(Refused, match=r"free-spoken-digit-dataset"):
        made(root / place).load()


def test_no_queries_of_other_speakers_in_classes_of_one(root: Path) -> None:
    split = made(root, speakers="others").load()["test"]
    with pytest.raises(Refused, match="no speaker has as many classes"):
        split.pick(np.random.default_rng(0), 2, 1, 1)


@pytest.mark.slow
def test_the_real_recordings_are_read(real_data: Path, tmp_path: Path) -> None:
    root = real_data / "spoken_digits"
    if not (root / "recordings.zip").is_file():
        pytest.skip(f"no recordings.zip in {root}")
    splits = SpokenDigits(root=str(root), cache=str(tmp_path)).load()
    assert [split.items.shape[0] for split in splits.values()] == [3000] * 3
    assert splits["train"].facts.counts["theo/3"] == 50
