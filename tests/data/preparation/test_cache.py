"""The cache: prepared once, atomically, and again if it is damaged or outdated."""

from __future__ import annotations

import json
import multiprocessing
import os
import secrets
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metarun.data.preparation.cache import ARRAY, INDEX, LOCK, prepared, stored
from metarun.data.preparation.cached_files import find
from metarun.data.preparation.images import Class, Images
from metarun.errors import Refused
from tests.names import file_names


def some_images(seed: int = 0) -> Images:
    items = np.random.default_rng(seed).integers(0, 256, (6, 1, 4, 5), dtype=np.uint8)
    items[5] = items[1]
    return Images.of(items, ["A/1", "Ä/2, [x]"], [2, 4])


def some_classes(seed: int = 0) -> Iterator[Class]:
    images = some_images(seed)
    yield Class("A/1", images.items[:2])
    yield Class("Ä/2, [x]", images.items[2:])


def never() -> Iterator[Class]:
    raise AssertionError("prepared again")


def visible(folder: Path) -> list[str]:
    """Names of the files in the cache, without the lock."""
    return sorted(p.name for p in folder.iterdir() if p.name != LOCK)


def test_what_is_stored_comes_back_read_only(tmp_path):
    made = some_images()
    for make in (some_classes, never):
        images = prepared(tmp_path / "set", "key", make)
        assert np.array_equal(images.items, made.items)
        assert images.items.dtype == np.uint8
        notes = [(i.names, i.counts, i.digests, i.copies) for i in (images, made)]
        assert notes[0] == notes[1]
        assert images.copies == (((1, "A/1/1"), (5, "Ä/2, [x]/3")),)
        with pytest.raises(ValueError, match="read-only"):
            images.items[0] = 0
    assert visible(tmp_path / "set") == [INDEX, ARRAY]


def test_the_array_is_mapped_not_read(tmp_path):
    images = prepared(tmp_path / "set", "key", some_classes)
    assert isinstance(images.items.base, np.memmap)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float16, np.float32])
def test_the_array_is_one_that_numpy_reads(tmp_path, dtype):
    rows = np.arange(40).reshape(10, 4).astype(dtype)
    prepared(tmp_path, "key", lambda: iter([Class("a", rows[:3]), Class("b", rows[3:])]))
    found = np.load(tmp_path / ARRAY, allow_pickle=False)
    assert found.dtype == dtype
    assert np.array_equal(found, rows)


def test_classes_are_written_one_by_one(tmp_path):
    """For data sets larger than memory: each class is written before the next is requested."""
    sizes = []

    def make() -> Iterator[Class]:
        for k in range(3):
            (part,) = tmp_path.glob(f".{ARRAY}.*.part")
            sizes.append(part.stat().st_size)
            yield Class(str(k), np.full((4, 1 << 20), k, np.uint8))

    prepared(tmp_path, "key", make)
    assert sizes[1] >= 4 << 20
    assert sizes[2] >= 8 << 20


@pytest.mark.parametrize(
    "classes",
    [
        [],
        [Class("a", np.zeros((1, 2), np.uint8)), Class("b", np.zeros((1, 3), np.uint8))],
        [Class("a", np.zeros((1, 2), np.uint8)), Class("b", np.zeros((1, 2), np.float32))],
        [Class("a", np.array([["x"]], dtype=object))],
    ],
)
def test_classes_that_do_not_form_one_array_are_an_error(tmp_path, classes):
    with pytest.raises(ValueError):
        prepared(tmp_path, "key", lambda: iter(classes))
    assert visible(tmp_path) == []


def test_errors_of_the_source_are_not_reported_as_cache_errors(tmp_path):
    def make() -> Iterator[Class]:
        yield from some_classes()
        raise OSError(5, "the source's disk is broken")

    with pytest.raises(OSError, match="source's disk"):
        prepared(tmp_path, "key", make)


def test_another_key_replaces_the_data_set(tmp_path):
    old = prepared(tmp_path, "old", lambda: some_classes(0))
    kept = old.items.copy()
    new = prepared(tmp_path, "new", lambda: some_classes(1))
    assert np.array_equal(new.items, some_images(1).items)
    assert np.array_equal(old.items, kept), "a reader of the old array keeps what it has mapped"
    assert visible(tmp_path) == [INDEX, ARRAY]
    assert stored(tmp_path, "old") is None


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(bytes(content))


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)  # to read it would wait for ever


@pytest.mark.parametrize("which", [INDEX, ARRAY])
@pytest.mark.parametrize(
    "damage", [truncate, flip, Path.unlink, pipe, lambda p: p.write_bytes(b"")]
)
def test_damage_is_noticed_and_repaired(tmp_path, which, damage):
    prepared(tmp_path, "key", some_classes)
    damage(tmp_path / which)
    assert stored(tmp_path, "key") is None
    repaired = prepared(tmp_path, "key", some_classes)
    assert np.array_equal(repaired.items, some_images().items)
    assert visible(tmp_path) == [INDEX, ARRAY]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=60) | st.builds(lambda x: json.dumps(x).encode(), st.text()))
def test_a_damaged_index_does_not_crash(tmp_path, junk):
    (tmp_path / INDEX).write_bytes(junk)
    assert stored(tmp_path, "key") is None


def test_an_endless_or_deep_index_is_not_read(tmp_path):
    for content in (b"[" * 10**6, b'{"sha256": ' + b"[" * 10**6):
        (tmp_path / INDEX).write_bytes(content)
        assert stored(tmp_path, "key") is None
    os.truncate(tmp_path / INDEX, 2**40)  # a sparse file, larger than any memory
    assert stored(tmp_path, "key") is None
    (found,) = find(tmp_path)
    assert found.root is None


def test_a_copied_cache_is_used_after_verification(tmp_path):
    prepared(tmp_path / "a", "key", some_classes)
    shutil.copytree(tmp_path / "a", tmp_path / "b", copy_function=shutil.copyfile)
    assert prepared(tmp_path / "b", "key", never).digests == some_images().digests


@pytest.mark.parametrize("error", [KeyboardInterrupt, Refused("no"), ZeroDivisionError])
def test_a_failing_preparation_leaves_the_old_one(tmp_path, error):
    prepared(tmp_path, "old", some_classes)

    def make() -> Iterator[Class]:
        yield from some_classes()
        raise error

    with pytest.raises(error if isinstance(error, type) else type(error)):
        prepared(tmp_path, "new", make)
    prepared(tmp_path, "old", never)


@pytest.mark.parametrize("when", ["save", "replace"])
def test_an_interrupt_while_writing_leaves_no_part(tmp_path, monkeypatch, when):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    module, name = {"save": (os, "fsync"), "replace": (os, "replace")}[when]
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, name, interrupted)
        prepared(tmp_path, "key", some_classes)
    assert visible(tmp_path) == []
    prepared(tmp_path, "key", some_classes)


def test_unfinished_files_of_a_killed_process_are_removed(tmp_path):
    for name in (ARRAY, INDEX, f".{ARRAY}.metarun-x1.part", f".{INDEX}.metarun-x2.part"):
        (tmp_path / name).write_bytes(b"half")
    prepared(tmp_path, "key", some_classes)
    assert visible(tmp_path) == [INDEX, ARRAY]


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(file_names(), max_size=8))
@example(names={"items-0123456789abcdef.npy", ".x.part", ".items-0.npy.part", "index.json"})
def test_other_files_in_the_folder_are_unchanged(tmp_path, names):
    folder = tmp_path / secrets.token_hex(8)
    folder.mkdir()
    for name in names:
        (folder / name).write_bytes(name.encode())
    for seed in (0, 1):  # the second replaces the first
        prepared(folder, f"key {seed}", lambda seed=seed: some_classes(seed))
    assert set(visible(folder)) == names | {ARRAY, INDEX}
    assert all((folder / name).read_bytes() == name.encode() for name in names)


def test_a_cache_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Refused) as refused:
        prepared(tmp_path / "file" / "set", "key", some_classes)
    (line,) = refused.value.mistakes
    assert line.startswith(f"data.cache={tmp_path / 'file'}: ")
    assert "\n" not in line


def test_a_full_disk_is_refused_in_one_line(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Refused, match=r"data\.cache=.*No space left"):
        prepared(tmp_path / "set", "key", some_classes)
    assert visible(tmp_path / "set") == []


def make_slowly(folder: Path, count: Path) -> None:
    def make() -> Iterator[Class]:
        count.open("a").write("made\n")
        time.sleep(0.3)
        yield from some_classes()

    assert prepared(folder, "key", make).digests == some_images().digests


def make_forever(folder: Path, count: Path) -> None:
    def make() -> Iterator[Class]:
        count.open("a").write("made\n")
        time.sleep(60)
        yield from some_classes()

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


def test_the_lock_of_a_killed_process_is_released(tmp_path):
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
