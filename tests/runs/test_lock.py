"""A run writes only to regular files and folders of its own, and alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from metarun.errors import Occupied, Refused
from metarun.runs.lock import alone_in, at_work

FILES = ("run.log", "metrics.jsonl", ".metarun.lock", ".metarun.holder")
FOLDERS = ("checkpoints", "evaluations", "wandb")


@pytest.mark.parametrize("name", [*FILES, *FOLDERS])
@pytest.mark.parametrize("target", ["outside", "missing"])
def test_links_are_refused(tmp_path: Path, name: str, target: str) -> None:
    (tmp_path / "outside").mkdir()
    run = tmp_path / "run"
    run.mkdir()
    (run / name).symlink_to(tmp_path / target)
    with pytest.raises(Refused) as refused, alone_in(run):
        pass
    assert refused.value.mistakes == [
        f"{run / name}: is a link; a run writes only to its own files"
    ]
    assert [path.name for path in run.iterdir()] == [name]


@pytest.mark.parametrize("name", FILES)
def test_pipes_and_folders_are_not_opened_as_files(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    with pytest.raises(Refused, match="is not a file; a run writes only"), alone_in(tmp_path):
        pass
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    with pytest.raises(Refused, match="is not a file; a run writes only"), alone_in(tmp_path):
        pass


@pytest.mark.parametrize("name", [name for name in FOLDERS if name != "wandb"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    with pytest.raises(Refused, match="is not a folder; a run writes only"), alone_in(tmp_path):
        pass
    assert (tmp_path / name).read_text() == "mine"


def test_one_process_at_a_time_works_in_a_folder(tmp_path: Path) -> None:
    for name in FOLDERS:
        (tmp_path / name).mkdir()
    with alone_in(tmp_path):
        assert at_work(tmp_path)
        with pytest.raises(Occupied, match=f"process {os.getpid()} on "), alone_in(tmp_path):
            pass
    assert not at_work(tmp_path)
