"""Checksums of source files: computed, recorded, and computed again on change."""

from __future__ import annotations

import hashlib
import os

import pytest

from metarun.data.preparation.checksums import NOTES, Checksums
from metarun.errors import Refused


@pytest.fixture
def file(tmp_path):
    (tmp_path / "cache").mkdir()
    (tmp_path / "source").write_bytes(b"content")
    return tmp_path / "source"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def test_it_is_the_md5_of_the_content(file, tmp_path):
    assert Checksums(tmp_path / "cache").of(file) == md5(b"content")
    assert list((tmp_path / "cache").iterdir()) == [], "nothing is stored before keep()"


def test_a_recorded_file_is_not_read_again(file, tmp_path, monkeypatch):
    sums = Checksums(tmp_path / "cache")
    sums.of(file)
    sums.keep([file])
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [NOTES]
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: pytest.fail("read again"))
    assert Checksums(tmp_path / "cache").of(file) == md5(b"content")


def test_a_file_of_another_size_or_time_is_read_again(file, tmp_path):
    sums = Checksums(tmp_path / "cache")
    sums.of(file)
    sums.keep([file])
    time = file.stat().st_mtime_ns
    file.write_bytes(b"CONTENT")
    os.utime(file, ns=(time + 1, time + 1))
    assert Checksums(tmp_path / "cache").of(file) == md5(b"CONTENT")
    file.write_bytes(b"longer content")
    os.utime(file, ns=(time, time))
    assert Checksums(tmp_path / "cache").of(file) == md5(b"longer content")


@pytest.mark.parametrize("notes", [b"", b"[]", b'{"a": 1}', b'{"a": ["x"]}', b"\xff", b"[" * 10**5])
def test_damaged_records_are_ignored(file, tmp_path, notes):
    (tmp_path / "cache" / NOTES).write_bytes(notes)
    sums = Checksums(tmp_path / "cache")
    assert sums.of(file) == md5(b"content")
    sums.keep([file])
    assert Checksums(tmp_path / "cache").records.keys() == {str(file)}


def test_endless_records_are_ignored(file, tmp_path):
    with (tmp_path / "cache" / NOTES).open("wb") as notes:
        notes.truncate(2**40)  # a sparse file
    assert Checksums(tmp_path / "cache").of(file) == md5(b"content")


def test_a_read_only_folder_is_ignored(file, tmp_path):
    sums = Checksums(tmp_path / "nowhere")
    sums.of(file)
    sums.keep([file])
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(Refused, match="cannot be read"):
            Checksums(tmp_path).of(path)
