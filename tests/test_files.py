"""A file is whole or not there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from metarun.files import write_whole


def test_content_replaces_content(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "ä")
    write_whole(tmp_path / "a", b"b")
    assert (tmp_path / "a").read_bytes() == b"b"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_others_may_read_it_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "x")
        assert os.umask(0o027) == 0o027  # which is as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_ends_a_write_early_leaves_the_old_file_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    write_whole(tmp_path / "a", "old")

    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(type(error)):
        write_whole(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
