"""The cache: made once, whole or not at all, and made anew when in doubt."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from metarun.data.cache import prepared, stored
from metarun.data.classes import Images
from metarun.errors import Refused


def some_images(seed: int = 0) -> Images:
    items = np.random.default_rng(seed).integers(0, 256, (6, 1, 4, 5), dtype=np.uint8)
    return Images.of(items, ["A/1", "Ä/2, [x]"], [2, 4])


def never() -> Images:
    raise AssertionError("prepared again")


def visible(folder: Path) -> list[str]:
    """File names by kind: one array and one index are all there should be, beside the lock."""
    return sorted(p.name.split("-")[0] for p in folder.iterdir() if p.name != ".lock")


def test_what_is_stored_comes_back_read_only(tmp_path):
    made = some_images()
    for make in (lambda: made, never):
        images = prepared(tmp_path / "set", "key", make)
        assert np.array_equal(images.items, made.items)
        assert images.items.dtype == np.uint8
        assert (images.names, images.counts, images.digests) == (
            made.names,
            made.counts,
            made.digests,
        )
        with pytest.raises(ValueError, match="read-only"):
            images.items[0] = 0
    assert visible(tmp_path / "set") == ["index.json", "items"]


def test_the_array_is_mapped_not_read(tmp_path):
    images = prepared(tmp_path / "set", "key", some_images)
    assert isinstance(images.items.base, np.memmap)


def test_another_key_makes_it_anew_and_clears_the_old(tmp_path):
    old = prepared(tmp_path, "old", lambda: some_images(0))
    kept = old.items.copy()
    new = prepared(tmp_path, "new", lambda: some_images(1))
    assert np.array_equal(new.items, some_images(1).items)
    assert np.array_equal(old.items, kept), "a reader of the old array keeps what it has mapped"
    assert visible(tmp_path) == ["index.json", "items"]
    assert stored(tmp_path, "old") is None


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


@pytest.mark.parametrize("which", ["index.json", "items-*"])
@pytest.mark.parametrize("damage", [truncate, flip, Path.unlink, lambda p: p.write_bytes(b"")])
def test_damage_is_noticed_and_repaired(tmp_path, which, damage):
    prepared(tmp_path, "key", some_images)
    damage(next(tmp_path.glob(which)))
    assert stored(tmp_path, "key") is None
    repaired = prepared(tmp_path, "key", some_images)
    assert np.array_equal(repaired.items, some_images().items)
    assert visible(tmp_path) == ["index.json", "items"]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=60) | st.builds(lambda x: json.dumps(x).encode(), st.text()))
def test_no_index_whatever_crashes(tmp_path, junk):
    (tmp_path / "index.json").write_bytes(junk)
    assert stored(tmp_path, "key") is None


def test_a_copy_elsewhere_is_taken_after_comparing_its_content(tmp_path):
    prepared(tmp_path / "a", "key", some_images)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    assert prepared(tmp_path / "b", "key", never).digests == some_images().digests


@pytest.mark.parametrize("error", [KeyboardInterrupt, Refused("no"), ZeroDivisionError])
def test_a_failing_preparation_leaves_the_old_one(tmp_path, error):
    prepared(tmp_path, "old", some_images)

    def make() -> Images:
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        prepared(tmp_path, "new", make)
    prepared(tmp_path, "old", never)


@pytest.mark.parametrize("when", ["save", "replace"])
def test_an_interrupt_while_writing_leaves_no_part(tmp_path, monkeypatch, when):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    module, name = {"save": (np, "save"), "replace": (os, "replace")}[when]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, name, interrupted)
        prepared(tmp_path, "key", some_images)
    assert visible(tmp_path) == []
    prepared(tmp_path, "key", some_images)


def test_what_a_killed_process_left_is_cleared(tmp_path):
    (tmp_path / ".items-0.npy.part").write_bytes(b"half")
    (tmp_path / "items-0.npy").write_bytes(b"no index names me")
    prepared(tmp_path, "key", some_images)
    assert visible(tmp_path) == ["index.json", "items"]


def test_a_cache_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as refused:
        prepared(tmp_path / "file" / "set", "key", some_images)
    (line,) = refused.value.mistakes
    assert line.startswith(f"data.cache={tmp_path / 'file'}: ")
    assert "\n" not in line


def test_a_full_disk_is_refused_in_one_line(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(Refused, match=r"data\.cache=.*No space left"):
        prepared(tmp_path / "set", "key", some_images)
    assert visible(tmp_path / "set") == []


def make_slowly(folder: Path, count: Path) -> None:
    def make() -> Images:
        count.open("a").write("made\n")
        time.sleep(0.3)
        return some_images()

    assert prepared(folder, "key", make).digests == some_images().digests


def make_forever(folder: Path, count: Path) -> None:
    def make() -> Images:
        count.open("a").write("made\n")
        time.sleep(60)
        return some_images()

    prepared(folder, "key", make)


def wait_for(path: Path) -> None:
    end = time.monotonic() + 10
    while not path.exists() and time.monotonic() < end:
        time.sleep(0.01)


def test_two_first_runs_prepare_once(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    args = (tmp_path / "set", tmp_path / "count")
    runs = [spawn.Process(target=make_slowly, args=args) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join(20)
    assert [run.exitcode for run in runs] == [0, 0]
    assert (tmp_path / "count").read_text() == "made\n"


def test_a_run_that_dies_while_preparing_is_not_waited_for(tmp_path):
    spawn = multiprocessing.get_context("spawn")
    first = spawn.Process(target=make_forever, args=(tmp_path / "set", tmp_path / "first"))
    first.start()
    wait_for(tmp_path / "first")
    second = spawn.Process(target=make_slowly, args=(tmp_path / "set", tmp_path / "second"))
    second.start()
    time.sleep(0.2)
    assert not (tmp_path / "second").exists(), "the second waits while the first lives"
    os.kill(first.pid, signal.SIGKILL)
    second.join(20)
    first.join(5)
    assert second.exitcode == 0
