"""Your own recordings: prepared, trained, tested, shown and labelled; and what is refused."""

from __future__ import annotations

import csv
import json
import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest

from metarun.data.audio_folder import AudioFolder
from metarun.data.preparation.mel import as_bytes, log_mel
from metarun.data.preparation.sound import read_sound
from metarun.errors import Refused

soundfile = pytest.importorskip("soundfile")
WORDS = ("yes", "no", "up", "down", "left", "right")
TINY = ("debug=tiny", "threads=1", "ways=2", "shots=2", "queries=2", "data.mels=16")
TINY += ("data.seconds=0.6", "backbone.filters=4")
FORMATS = ("wav", "flac", "ogg", "wav", "wav")


def record(path: Path, word: int, take: int, seconds: float) -> None:
    """A tone whose pitch depends on the word."""
    time = np.arange(round(16_000 * seconds)) / 16_000
    noise = np.random.default_rng(100 * word + take).normal(0, 0.05, len(time))
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.4 * np.sin(2 * np.pi * 300 * (word + 1) * time) + 0.1 * noise, 16_000)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("sounds") / "words"
    for number, word in enumerate(WORDS):
        for take, suffix in enumerate(FORMATS):
            record(root / word / f"{take}.{suffix}", number, take, 0.3 + 0.15 * take)
    return root


def data(root: Path, cache: Path, **keys: object) -> AudioFolder:
    return AudioFolder(root=str(root), cache=str(cache), mels=16, seconds=0.6, **keys)


def labelled(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "predictions.csv").read_text().splitlines()))


def test_an_item_is_the_middle_of_the_spectrogram_of_its_recording(folder, tmp_path):
    splits = data(folder, tmp_path).load()
    assert sorted(name for split in splits.values() for name in split.names) == sorted(WORDS)
    split = splits["test"]
    assert split.shape == (1, 16, 19)
    for name, first in zip(split.names, split.first, strict=True):
        for take, suffix in enumerate(FORMATS):
            whole = as_bytes(log_mel(read_sound(folder / name / f"{take}.{suffix}").samples, 16))
            item, frames = split.items[first + take, 0], whole.shape[-1]
            start = max(0, frames - 19) // 2
            np.testing.assert_array_equal(item[:, :frames], whole[:, start : start + 19])
            assert not item[:, frames:].any()


def test_own_items_are_prepared_alike(folder, tmp_path):
    splits = data(folder, tmp_path).load()
    split = splits["test"]
    files = [str(folder / split.names[0] / f"{k}.{suffix}") for k, suffix in enumerate(FORMATS)]
    own = data(folder, tmp_path).prepare_own(files, split.scale)
    stored = split.items[split.first[0] : split.first[0] + 5]
    np.testing.assert_array_equal(np.stack(own), split.scale(stored))
    values = splits["train"]
    inside = [
        values.items[k, 0, :, : values.lengths[k]]
        for first, count in zip(values.first, values.counts, strict=True)
        for k in range(first, first + count)
    ]
    inside = np.concatenate([item.ravel() for item in inside])
    assert split.scale == pytest.approx((inside.mean(), inside.std()))


def test_a_run_from_the_folder_to_the_labels(metarun, folder, tmp_path):
    typed = ("data=audio_folder", f"data.root={folder}", f"data.cache={tmp_path / 'cache'}")
    assert metarun(*typed, *TINY, "out=run")[0] == 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["protocol"]["data_name"] == "words"
    code, out, _ = metarun("show", *typed, *TINY, "out=show.png")
    assert (code, "1×16×19" in out) == (0, True)
    assert "recordings" in metarun("list", "data", "audio_folder")[1]
    two = ("support=two", f"query={folder}")
    for word in WORDS[:2]:
        (tmp_path / "two" / word).mkdir(parents=True)
        for name in ("0.wav", "1.flac"):
            shutil.copy(folder / word / name, tmp_path / "two" / word / name)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "empty.wav").touch()
    (tmp_path / "bad" / "text.wav").write_text("no sound")
    for source in (("run=run",), ("algo=nearest_centroid", "backbone=identity")):
        code, out, err = metarun("predict", *source, *two, f"out=of_{source[0][-3:]}")
        assert (code, err) == (0, [])
        page = (tmp_path / f"of_{source[0][-3:]}" / "predictions.html").read_text()
        assert page.count("data:image/webp") > 10
    weights = ("algo=simpleshot", "backbone.weights=run", *two, "out=of_weights")
    assert metarun("predict", *weights)[0] == 0
    records = [
        json.loads((tmp_path / name / "prediction.json").read_text())
        for name in ("of_run", "of_weights", "of_oid")
    ]
    assert {r["normalisation"] for r in records} == {result["protocol"]["normalisation"]}
    scales = [record["spectrograms"] for record in records]
    assert scales[0] == scales[1] == result["run"]["spectrograms"] != scales[2]
    new = ("data=audio_folder", f"data.root={folder}", "data.fractions=[0,0,1]", "episodes=4")
    assert metarun("evaluate", "run=run", *new, "name=new")[0] == 0  # in the seconds of the run
    code, _, err = metarun("predict", "run=run", "support=two", "query=bad", "out=none")
    assert code == 2
    assert "bad/empty.wav: unreadable (empty)" in err[1]
    assert "bad/text.wav: unreadable (not a sound file" in err[2]
    assert not (tmp_path / "none").exists()


def test_an_empty_file_is_one_line_and_nothing_is_written(metarun, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "words")
    (tmp_path / "words" / "yes" / "9.wav").touch()
    typed = ("data=audio_folder", "data.root=words", "data.cache=cache", *TINY, "out=run")
    code, _, err = metarun(*typed)
    assert (code, err) == (2, [f"metarun: {tmp_path}/words/yes/9.wav: empty"])
    (tmp_path / "words" / "yes" / "9.wav").write_text("no sound")
    code, _, (line,) = metarun(*typed)
    assert code == 2
    assert line.startswith(f"metarun: {tmp_path}/words/yes/9.wav: not a sound file")
    assert [p.name for p in tmp_path.iterdir() if p.name != "cache"] == ["words"]
    assert not list(tmp_path.rglob("*.npy"))


def test_recordings_of_another_form_are_named_each_time(folder, tmp_path, caplog):
    shutil.copytree(folder, tmp_path / "words")
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "words/yes/6.wav", rng.normal(0, 0.1, 8000), 8000)
    soundfile.write(tmp_path / "words/no/7.wav", rng.normal(0, 0.1, (16_000, 2)), 16_000)
    for _ in range(2):  # the second time from the cache
        caplog.clear()
        data(tmp_path / "words", tmp_path / "cache").load()
        assert "resampled and mixed: no/7.wav, yes/6.wav" in caplog.text


def test_silent_recordings_have_a_scale(tmp_path):
    for number, word in enumerate(WORDS):
        for take in range(3):
            path = tmp_path / "silent" / word / f"{take}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.zeros(8000 + 1000 * number + 100 * take), 16_000)
    split = data(tmp_path / "silent", tmp_path / "cache").load()["train"]
    assert np.isfinite(split.scale(split.items)).all()


def test_the_folder_is_required(tmp_path):
    with pytest.raises(Refused, match=r"name the folder of your recordings: data\.root=DIR"):
        AudioFolder(root=None, cache=str(tmp_path))
    with pytest.raises(Refused, match="it should hold a folder of recordings for each class"):
        data(tmp_path, tmp_path).facts()


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_five_recordings_of_each_digit_and_speaker_label_the_rest(metarun, real_data, tmp_path):
    """A network trained on other digits is ahead of the nearest mean log-mel spectrum."""
    archive = real_data / "spoken_digits" / "recordings.zip"
    if not archive.is_file():
        pytest.skip(f"no {archive}")
    speakers, tested = ("george", "jackson", "lucas", "nicolas", "theo"), "789"
    with zipfile.ZipFile(archive) as file:
        for name in file.namelist():
            if not name.endswith(".wav"):
                continue
            digit, speaker, take = Path(name).stem.split("_")
            root = "train" if digit not in tested else "query"
            if digit in tested and (digit == "9" or speaker not in speakers):
                continue  # ten classes
            if root == "query" and int(take) < 5:
                root = "support"
            target = tmp_path / root / f"{speaker}-{digit}" / f"{take}.wav"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read(name))
    short = ("steps=150", "eval_every=75", "val_episodes=50", "test_episodes=50", "threads=1")
    assert metarun("data=audio_folder", "data.root=train", *short, "out=run")[0] == 0
    found = {}
    for name, source in {
        "protonet": ("run=run",),
        "centroid": ("algo=nearest_centroid", "backbone=identity", "backbone.mean_over_time=true"),
    }.items():
        assert metarun("predict", *source, "support=support", "query=query", f"out={name}")[0] == 0
        rows = labelled(tmp_path / name)
        assert len(rows) == 450
        found[name] = np.mean([row["label"] == row["truth"] for row in rows])
    assert found["protonet"] > found["centroid"] + 0.05
