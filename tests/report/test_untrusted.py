"""Only regular files of a run folder are read; text is cleaned and links are escaped."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import unquote

import pytest

from metarun.report.sections import lines, links
from metarun.report.untrusted import read_own


def test_a_file_of_the_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    assert read_own(tmp_path, "a", 5) == b"12345"
    assert read_own(tmp_path, "a", 4) is None
    assert read_own(tmp_path, "b", 4) is None


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "loop"])
def test_links_pipes_and_folders_are_not_read(tmp_path: Path, kind: str) -> None:
    outside = tmp_path / "outside"
    outside.write_text("secret")
    run = tmp_path / "run"
    run.mkdir()
    file = run / "config.yaml"
    {
        "link": lambda: file.symlink_to(outside),
        "loop": lambda: file.symlink_to(file),
        "pipe": lambda: os.mkfifo(file),
        "folder": file.mkdir,
    }[kind]()
    assert read_own(run, "config.yaml", 100) is None
    assert links(run, run) == []


def test_control_characters_are_removed_and_lines_are_kept() -> None:
    assert lines("a: 1\n  b: 2\x1b[31m\u202eevil\r\nc\x00".encode(), 100) == (
        "a: 1\n  b: 2�[31m�evil\nc�"
    )
    assert lines(b"\xff\n" * 3, 4) == "�\n�\n…"
    assert len(lines(b"x" * 10**7, 1000)) < 1100


def test_links_are_relative_urls_without_a_scheme(tmp_path: Path) -> None:
    run = tmp_path / "javascript:alert(1)" / "a b#?%<script>"
    run.mkdir(parents=True)
    (run / "result.json").touch()
    ((name, address),) = links(run, tmp_path)
    assert name == "result.json"
    assert address.startswith("./javascript%3A")
    assert not set('<>"#? ') & set(address)
    assert (tmp_path / unquote(address)).samefile(run / "result.json")
    assert links(run, run) == [("result.json", "./result.json")]
    assert links(tmp_path, run) == []
