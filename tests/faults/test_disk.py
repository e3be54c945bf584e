"""A full disk or a read-only folder gives one line, and the run can be resumed."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from metarun.plots import curves, tested
from metarun.runs import results
from tests.conftest import TINY
from tests.faults.conftest import SHORT, assert_same
from tests.test_train import result

Metarun = Callable[..., tuple[int, str, list[str]]]


def failing_from(patch: pytest.MonkeyPatch, module: Any, name: str, first: int, code: int) -> list:
    """Make a system function fail from its `first` call on; returns the list of calls."""
    original, calls = getattr(module, name), []

    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(args)
        if len(calls) >= first:
            raise OSError(code, os.strerror(code))
        return original(*args, **kwargs)

    patch.setattr(module, name, call)
    return calls


@pytest.mark.parametrize(
    ("module", "name", "code"),
    [(os, "fsync", errno.ENOSPC), (tempfile, "mkstemp", errno.EACCES)],
    ids=["full", "read-only"],
)
def test_writes_that_fail_from_some_call_on(
    metarun: Metarun, made: Path, module: Any, name: str, code: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        calls = failing_from(patch, module, name, 10**9, code)
        metarun(*SHORT, "out=counted")
    spread = sorted({1, 2, *range(4, len(calls), len(calls) // 3), len(calls)})
    for first in spread:
        out = Path(f"run{first}")
        with pytest.MonkeyPatch.context() as patch:
            failing_from(patch, module, name, first, code)
            ended, shown, err = metarun(*SHORT, f"out={out}")
        assert "Traceback" not in shown + "".join(err)
        assert len(err) == 1, (first, err)
        assert os.strerror(code) in err[0]
        if not (out / "config.yaml").exists():  # not started: the folder is free
            assert ended == 2
            assert metarun(*SHORT, f"out={out}")[0] == 0
        else:
            assert ended == 1
            assert f"go on with: metarun resume={out}" in err[0]
            if (results.read_result(out) or {}).get(
                "status"
            ) != "completed":  # it may fail in the last sync
                assert metarun(f"resume={out}", *TINY[:2])[0] == 0
        assert_same(out, made / "whole")


@pytest.fixture
def whole(made: Path, metarun: Metarun) -> Path:
    """A copy of the finished run `whole` in the folder of the test."""
    shutil.copytree(made / "whole", "whole")
    return Path("whole")


LONGER = ["resume=whole", "steps=6", *TINY[:2]]


def contents(folder: Path) -> dict[Path, bytes]:
    """The content of each file, without the log and the lock."""
    files = [p for p in folder.rglob("*") if p.is_file()]
    return {p: p.read_bytes() for p in files if p.name not in ("run.log", ".metarun.lock")}


def test_a_finished_run_without_test_episodes_can_be_continued(
    metarun: Metarun, whole: Path
) -> None:
    (whole / "test_episodes.csv").unlink()
    first = (whole / "result.json").read_bytes()
    code, _, err = metarun(*LONGER)
    assert code == 0
    assert err == [
        "metarun: whole/test_episodes.csv: missing; the run continues without a copy of it"
    ]
    (kept,) = whole.glob("evaluations/*")
    assert kept.name == "after_4_steps"
    assert {file.name for file in kept.iterdir()} == {"result.json", "test_classes.csv"}
    assert (kept / "result.json").read_bytes() == first
    assert (whole / "test_episodes.csv").exists()


def test_a_finished_run_without_a_result_can_be_continued(metarun: Metarun, whole: Path) -> None:
    (whole / "result.json").unlink()
    assert metarun(*LONGER)[0] == 0
    assert result(whole)["run"]["steps_done"] == 6


def test_results_that_cannot_be_copied_are_not_replaced(metarun: Metarun, whole: Path) -> None:
    (whole / "test_episodes.csv").unlink()
    (whole / "test_episodes.csv").mkdir()
    before = contents(whole)
    for _ in range(2):
        code, _, err = metarun(*LONGER)
        assert (code, len(err)) == (2, 1)
        assert err[0].startswith("metarun: whole/test_episodes.csv: cannot be read (")
    assert contents(whole) == before
    assert not (whole / "evaluations").exists()


@pytest.mark.parametrize(
    ("module", "name", "after_copy"), [(os, "fsync", 7), (tempfile, "mkstemp", 4)]
)
def test_attempts_to_continue_a_finished_run_on_a_full_disk_leave_at_most_one_copy(
    metarun: Metarun, whole: Path, module: Any, name: str, after_copy: int
) -> None:
    """The disk is full from the first write on, from a file of the copy on, or after the copy."""
    saved = contents(whole / "checkpoints")
    for first in (1, 3, after_copy):
        for _ in range(2):
            with pytest.MonkeyPatch.context() as patch:
                failing_from(patch, module, name, first, errno.ENOSPC)
                code, _, err = metarun(*LONGER)
            assert (code in (1, 2), len(err)) == (True, 1), err
            assert os.strerror(errno.ENOSPC) in err[0]
            assert "METARUN_TRACEBACK" not in err[0]
        copies = [path.name for path in whole.glob("evaluations/*")]
        assert copies == ([] if code == 2 else ["after_4_steps"])
        assert contents(whole / "checkpoints") == saved
    assert metarun(*LONGER)[0] == 0
    assert [path.name for path in whole.glob("evaluations/*")] == ["after_4_steps"]


@pytest.mark.parametrize(
    "words",
    [
        ["evaluate", "run=whole", *TINY[:2]],
        ["evaluate", "run=whole", "name=mine", *TINY[:2]],
        ["audit", "run=whole", "episodes=2", *TINY[:2]],
        ["report", "whole"],
        ["show", "data=blobs", "out=blobs.png", *TINY[:2]],
    ],
    ids=lambda words: " ".join(words[:3]),
)
def test_a_command_on_a_full_disk_leaves_nothing(
    metarun: Metarun, whole: Path, words: list[str]
) -> None:
    before = contents(Path())
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            failing_from(patch, tempfile, "mkstemp", 1, errno.ENOSPC)
            code, _, err = metarun(*words)
        assert (code, len(err)) == (2, 1), err
        assert os.strerror(errno.ENOSPC) in err[0]
    assert contents(Path()) == before
    assert not (whole / "evaluations").exists()
    assert metarun(*words)[0] == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB, too small for a run."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no right to mount a small disk")
    yield disk
    subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk(metarun: Metarun, made: Path, small_disk: Path) -> None:
    out = small_disk / "run"
    code, shown, err = metarun(*SHORT, f"out={out}")
    assert (code, len(err)) == (1, 1), err
    assert "No space left on device" in err[0]
    assert "Traceback" not in shown + err[0]
    assert result(out)["status"] in ("failed", "running")  # the new status may not fit
    grown = ["mount", "-o", "remount,size=20m", str(small_disk)]
    subprocess.run(grown, check=True)
    assert metarun(f"resume={out}", *TINY[:2])[0] == 0
    assert_same(out, made / "whole")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission(metarun: Metarun, part: Path) -> None:
    part.chmod(0o500)
    try:
        code, _, err = metarun("resume=part", *TINY[:2])
    finally:
        part.chmod(0o700)
    assert (code, len(err)) == (2, 1)
    assert "Permission denied" in err[0]


@pytest.mark.parametrize("name", ["draw_curves", "draw_tested"])
def test_a_picture_that_cannot_be_drawn_does_not_affect_the_run(
    metarun: Metarun, made: Path, name: str
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("no font")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr({"draw_curves": curves, "draw_tested": tested}[name], name, broken)
        code, _, err = metarun(*SHORT, "out=run")
    picture = {"draw_curves": "curves", "draw_tested": "episodes"}[name]
    assert code == 0
    assert err == [f"metarun: {picture}.png could not be drawn (ValueError: no font)"]
    assert_same(Path("run"), made / "whole")
