"""Checksums of source files: right, noted once data is made from them, computed anew on change."""

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
    assert list((tmp_path / "cache").iterdir()) == [], "nothing is noted before it is kept"


def test_what_is_noted_is_not_read_again(file, tmp_path, monkeypatch):
    sums = Checksums(tmp_path / "cache")
    sums.of(file)
    sums.keep([file])
    assert [p.name for p in (tmp_path / "cache").iterdir()] == [NOTES]
    monkeypatch.setattr(hashlib, "file_digest", lambda *a: pytest.fail("read again"))
    assert Checksums(tmp_path / "cache").of(file) == md5(b"content")


def test_another_size_or_time_has_it_read_again(file, tmp_path):
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


@pytest.mark.parametrize("notes", [b"", b"[]", b'{"a": 1}', b'{"a": ["x"]}', b"\xff"])
def test_damaged_notes_are_no_notes(file, tmp_path, notes):
    (tmp_path / "cache" / NOTES).write_bytes(notes)
    sums = Checksums(tmp_path / "cache")
    assert sums.of(file) == md5(b"content")
    sums.keep([file])
    assert Checksums(tmp_path / "cache").noted.keys() == {str(file)}


def test_a_folder_that_cannot_be_written_to_is_nobodys_trouble(file, tmp_path):
    sums = Checksums(tmp_path / "nowhere")
    sums.of(file)
    sums.keep([file])
    assert not (tmp_path / "nowhere").exists()


def test_a_file_that_cannot_be_read_is_one_line(tmp_path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(Refused, match="cannot be read"):
            Checksums(tmp_path).of(path)
