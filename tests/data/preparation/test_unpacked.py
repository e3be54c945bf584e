"""Folders that an archive was unpacked into are found, however the program did it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from metarun.data.class_splits import from_file
from metarun.data.preparation.unpacked import unpacked


def folder(path: Path, *names: str) -> Path:
    for name in names:
        (path / name).mkdir(parents=True)
    return path


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_the_inner_folder_of_the_same_name_is_meant(tmp_path: Path, depth: int) -> None:
    inner = tmp_path.joinpath(*["a"] * (depth + 1))
    folder(inner, "cat", "dog")
    assert unpacked(tmp_path / "a") == inner


@pytest.mark.parametrize("beside", ["b", "notes.txt"])
def test_a_folder_with_something_beside_is_meant_itself(tmp_path: Path, beside: str) -> None:
    folder(tmp_path / "a", "a", beside)
    assert unpacked(tmp_path / "a") == tmp_path / "a"


@pytest.mark.parametrize("hidden", [".DS_Store", "__MACOSX"])
def test_what_systems_leave_does_not_count(tmp_path: Path, hidden: str) -> None:
    folder(tmp_path / "a", "a", hidden)
    assert unpacked(tmp_path / "a") == tmp_path / "a" / "a"


def test_a_folder_of_the_data_set_means_its_parent(tmp_path: Path) -> None:
    archives = ("images_background", "images_evaluation")
    root = folder(tmp_path / "root", "images_background/Greek", "images_evaluation/Tibetan")
    assert unpacked(root / "images_background", archives) == root
    twice = folder(tmp_path / "twice", "images_background/images_background/Greek")
    inner = twice / "images_background" / "images_background"
    assert unpacked(inner, archives) == twice


def test_a_missing_folder_and_a_file_are_left_to_the_reader(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "missing", tmp_path / "file"):
        assert unpacked(path) == path


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert unpacked("~/pictures") == tmp_path / "pictures"


def test_a_split_file_from_windows_is_read(tmp_path: Path) -> None:
    split = {"train": ["a", "b"], "val": ["c", "d"], "test": ["e", "f"]}
    text = json.dumps(split, indent=2).replace("\n", "\r\n")
    (tmp_path / "split.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert from_file(tmp_path / "split.json", "abcdef") == split
