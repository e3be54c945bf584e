"""Files are written atomically and durably."""

from __future__ import annotations

import json
import os
import secrets
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from metarun.files import (
    clear_parts,
    make_folder,
    open_file,
    read_whole,
    write_whole,
)
from metarun.runs import results
from tests.names import file_names


def test_content_replaces_content(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "ä")
    write_whole(tmp_path / "a", b"b")
    assert (tmp_path / "a").read_bytes() == b"b"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_the_mode_follows_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_whole(tmp_path / "a", "x")
        assert os.umask(0o027) == 0o027  # unchanged
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failed_or_interrupted_write_keeps_the_old_file(
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


def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the system calls made from now on, each with the name of its file."""
    calls = []

    def name_of(handle: int) -> str:
        name = Path(os.readlink(f"/proc/self/fd/{handle}")).name
        return "new" if name.endswith(".part") else name

    originals = {name: getattr(os, name) for name in ("fsync", "replace", "link", "mkdir")}

    def fsync(handle: int) -> None:
        calls.append(f"sync {name_of(handle)}")
        originals["fsync"](handle)

    def replace(old: str, new: str) -> None:
        calls.append(f"rename to {Path(new).name}")
        originals["replace"](old, new)

    def mkdir(path: str, *args: int) -> None:
        calls.append(f"mkdir {Path(path).name}")
        originals["mkdir"](path, *args)

    for function in (fsync, replace, mkdir):
        monkeypatch.setattr(os, function.__name__, function)
    return calls


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/fd").is_dir(), reason="needs /proc to find the file of a descriptor"
)


@needs_proc
def test_a_power_cut_between_any_two_calls_leaves_one_of_the_contents(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The data is synced before the rename, and the folder after it."""
    (folder := tmp_path / "run").mkdir()
    calls = recorded(monkeypatch)
    write_whole(folder / "last.pt", "x")
    assert calls == ["sync new", "rename to last.pt", "sync run"]
    calls.clear()
    write_whole(folder / "last.pt", "y", keep=folder / "previous.pt")
    assert calls == ["sync new", "rename to previous.pt", "rename to last.pt", "sync run"]


@needs_proc
def test_new_folders_are_synced_to_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (top := tmp_path / "top").mkdir()
    calls = recorded(monkeypatch)
    make_folder(top / "a" / "b")
    assert calls == ["mkdir a", "sync top", "mkdir b", "sync a"]
    make_folder(top / "a" / "b")
    assert len(calls) == 4


@pytest.mark.parametrize("links", [True, False], ids=["links", "no links"])
def test_the_previous_content_is_kept_under_a_second_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    def link(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr(os, "link", link)
    new, old = tmp_path / "last", tmp_path / "previous"
    for text in "abc":
        write_whole(new, text, keep=old)
    assert (new.read_text(), old.read_text()) == ("c", "b")
    assert {p.name for p in tmp_path.iterdir()} == {"last", "previous"}


def test_keep_separates_two_hard_links_to_one_file(tmp_path: Path) -> None:
    """The state after a kill between keeping the old content and replacing it."""
    new, old = tmp_path / "last", tmp_path / "previous"
    new.write_text("a")
    os.link(new, old)
    write_whole(new, "b", keep=old)
    assert (new.read_text(), old.read_text()) == ("b", "a")
    assert {p.name for p in tmp_path.iterdir()} == {"last", "previous"}


def test_unfinished_files_of_a_killed_process_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    (tmp_path / "last.pt").touch()
    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        patch.setattr(os, "unlink", lambda *_: None)  # a killed process removes nothing
        with pytest.raises(KeyboardInterrupt):
            write_whole(tmp_path / "last.pt", "new", keep=tmp_path / "previous.pt")
    assert len(list(tmp_path.glob(".*.part"))) == 2
    clear_parts(tmp_path)
    assert {p.name for p in tmp_path.iterdir()} == {"last.pt"}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.sets(file_names(), max_size=8))
@example(names={".config.yaml.part", ".last.pt.x1.part", ".x.abcd1234.part", ".metarun.part"})
def test_clear_parts_never_removes_files_of_users(tmp_path: Path, names: set[str]) -> None:
    folder = tmp_path / secrets.token_hex(8)
    folder.mkdir()
    for name in names:
        (folder / name).touch()
    clear_parts(folder)
    assert {p.name for p in folder.iterdir()} == names


def test_an_error_names_the_target_and_not_the_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_whole(tmp_path / "a", "x")
    assert caught.value.filename == str(tmp_path / "a")


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")):
        with pytest.raises(OSError, match=r"not a file|Is a directory"):
            open_file(path)


def test_a_file_is_read_up_to_a_limit(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_whole(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="more than 0 MB"):
        read_whole(tmp_path / "a", 4)


@pytest.mark.parametrize("name", [b"caf\xe9", b"\xff/\xfe", b"a\nb\x1b[0m", "ä→𝄞".encode()])
def test_any_file_name_is_carried_through_json(tmp_path: Path, name: bytes) -> None:
    """A name that is not UTF-8 is written as a JSON escape."""
    results.write(tmp_path, {"root": os.fsdecode(name)})
    content = json.loads((tmp_path / "result.json").read_bytes().decode("utf-8"))
    assert os.fsencode(content["root"]) == name
    assert results.read_result(tmp_path) == content
