"""An evaluation has a folder of its own, which is never an existing one."""

from __future__ import annotations

from pathlib import Path

import pytest

from metarun.errors import Refused
from metarun.runs.evaluations import new_folder


def test_a_new_folder_is_not_an_existing_one(tmp_path: Path) -> None:
    for name in ("a", "a_2", "a_3"):
        with new_folder(tmp_path / "parent", None, "a") as folder:
            assert folder == tmp_path / "parent" / name
    with pytest.raises(Refused, match="File exists"), new_folder(tmp_path / "parent", "a_2", "a"):
        pass
    assert len(list((tmp_path / "parent").iterdir())) == 3


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_new_folder_is_removed_if_writing_into_it_fails(
    tmp_path: Path, error: BaseException
) -> None:
    expected = Refused if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected), new_folder(tmp_path / "parent", None, "a") as folder:
        (folder / "file").touch()
        raise error
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", [None, "mine"])
def test_a_new_folder_is_not_made_behind_a_link(tmp_path: Path, name: str | None) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "evaluations").symlink_to(tmp_path / "outside")
    with (
        pytest.raises(Refused, match="evaluations: is a link; a run writes only to its own files"),
        new_folder(tmp_path / "evaluations", name, "test"),
    ):
        pass
    assert list((tmp_path / "outside").iterdir()) == []
