"""The command `metarun report`."""

from __future__ import annotations

import csv
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from metarun import files
from tests.conftest import TINY
from tests.report.material import learned, of_status

Metarun = Callable[..., tuple[int, str, list[str]]]


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    """Return the size and the time of the last change of each file."""
    paths = [p for p in folder.rglob("*") if p.name not in ("report.html", "report.csv")]
    return {str(p): (p.lstat().st_size, p.lstat().st_mtime_ns) for p in paths if not p.is_dir()}


def test_a_sweep_with_a_failing_job_and_an_evaluation(metarun: Metarun) -> None:
    assert metarun("-m", *TINY, "shots=1,-1", "seed=0,1", "hydra.sweep.dir=sweep")[0] == 1
    assert metarun("evaluate", "run=sweep/0", "ways=3", *TINY[:2])[0] == 0
    before = listing(Path.cwd())
    code, out, err = metarun("report", "sweep")
    assert (code, err) == (0, [])
    assert listing(Path.cwd()) == before
    assert out.splitlines()[-2:] == [str(Path("sweep/report.csv")), str(Path("sweep/report.html"))]
    rows = list(csv.DictReader(Path("sweep/report.csv").read_text().splitlines()))
    assert [row["status"] for row in rows] == ["completed"] * 3 + ["failed"] * 2
    evaluation = next(row for row in rows if row["run"] == "0/evaluations/test_3w1s3q_8")
    assert (evaluation["val"], evaluation["val_ci95"]) == ("", "")  # it was of 5-way tasks
    vals = [float(row["val"]) for row in rows[:3] if row is not evaluation]
    assert vals == sorted(vals, reverse=True)
    page = Path("sweep/report.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "shots=-1: should be greater than or equal to 1" in page
    assert "Plotly" in page


def test_a_second_report_replaces_the_first(metarun: Metarun) -> None:
    learned(Path("runs/a"))
    assert metarun("report", "runs")[0] == 0
    learned(Path("runs/b"), 1)
    assert metarun("report", "runs")[0] == 0
    assert len(Path("runs/report.csv").read_text().splitlines()) == 3


@pytest.mark.parametrize("name", ["report.html", "report.csv"])
@pytest.mark.parametrize("kind", ["own file", "empty file", "link", "lost link", "folder", "pipe"])
def test_only_files_of_a_report_are_replaced(metarun: Metarun, name: str, kind: str) -> None:
    learned(Path("runs/a"))
    file, mine = Path("runs") / name, Path("mine")
    mine.write_text("mine")
    {
        "own file": lambda: file.write_text("<!doctype html><title>mine</title>"),
        "empty file": file.touch,
        "link": lambda: file.symlink_to(mine.absolute()),
        "lost link": lambda: file.symlink_to("nowhere"),
        "folder": file.mkdir,
        "pipe": lambda: os.mkfifo(file),
    }[kind]()
    before = file.lstat()[:7]  # without the time of reading
    code, out, (line,) = metarun("report", "runs")
    assert (code, out) == (2, "")
    assert line.startswith(f"metarun: {file}: is ")
    assert file.lstat()[:7] == before
    assert mine.read_text() == "mine"
    assert sorted(p.name for p in Path("runs").iterdir()) == sorted(["a", name])


def test_the_report_can_be_written_to_another_folder(metarun: Metarun) -> None:
    learned(Path("runs/a"))
    Path("pages").mkdir()
    assert metarun("report", "runs", "out=pages/all.html")[0] == 0
    assert sorted(p.name for p in Path("pages").iterdir()) == ["all.csv", "all.html"]
    assert [p.name for p in Path("runs").iterdir()] == ["a"]
    for out in ("pages/all.txt", "nowhere/all.html", ""):
        code, _, err = metarun("report", "runs", f"out={out}")
        assert (code, len(err)) == (2, 1), out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_without_write_permission_is_reported_in_one_line(metarun: Metarun) -> None:
    learned(Path("runs/a"))
    os.chmod("runs", stat.S_IRUSR | stat.S_IXUSR)
    code, _, (line,) = metarun("report", "runs")
    os.chmod("runs", stat.S_IRWXU)
    assert code == 2
    assert "cannot be written to" in line


def test_a_full_disk_is_reported_in_one_line(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, data: str) -> None:
        raise OSError(28, "No space left on device", str(path))

    learned(Path("runs/a"))
    monkeypatch.setattr(files, "write_whole", full)
    code, _, (line,) = metarun("report", "runs")
    assert code == 2
    assert "No space left on device" in line


@pytest.mark.parametrize("words", [[], ["nowhere"], ["empty"], ["a_file"], ["out=x.html"]])
def test_folders_without_runs_are_reported_in_one_line(metarun: Metarun, words: list[str]) -> None:
    Path("empty").mkdir()
    Path("a_file").touch()
    code, out, err = metarun("report", *words)
    assert (code, out, len(err)) == (2, "", 1)
    assert not list(Path.cwd().rglob("report.*"))


def test_nested_and_repeated_folders_are_counted_once(metarun: Metarun) -> None:
    learned(Path("runs/a"))
    learned(Path("runs/deep/b"), 1)
    assert metarun("report", "runs/deep", "runs", "runs", "runs/deep/b")[0] == 0
    assert len(Path("runs/deep/report.csv").read_text().splitlines()) == 3
    assert not Path("runs/report.csv").exists()


def test_a_folder_name_that_is_not_valid_utf_8(metarun: Metarun) -> None:
    learned(Path("runs/a"))
    name = os.path.join(b"runs", b"\xff\xfe")
    try:
        os.rename("runs/a", name)
    except OSError:
        pytest.skip("the file system accepts only UTF-8 names")
    assert metarun("report", "runs")[0] == 0
    assert "./%FF%FE/result.json" in Path("runs/report.html").read_text()


def test_control_characters_in_a_folder_name_are_not_printed(metarun: Metarun) -> None:
    learned(Path("runs/\x1b[2J\u202e[bold]x"))
    code, out, _ = metarun("report", "runs")
    assert code == 0
    assert "�[2J�[bold]x" in out


def test_a_report_of_one_run(metarun: Metarun) -> None:
    learned(Path("run"))
    assert metarun("report", "run")[0] == 0
    assert Path("run/report.html").exists()


def test_a_running_run_is_not_changed(metarun: Metarun) -> None:
    from metarun.runs.lock import alone_in

    folder = of_status(Path("runs/a"), "running")
    with alone_in(folder):
        before = listing(folder)
        code, out, err = metarun("report", "runs")
        assert (code, err) == (0, [])
        assert listing(folder) == before
    assert "running" in out


def test_report_does_not_import_torch(tmp_path: Path) -> None:
    learned(tmp_path / "a")
    learned(tmp_path / "b", 1)
    script = (
        "import sys; from metarun import cli; code = cli.main(sys.argv[1:]); "
        "sys.exit(code or ('torch' in sys.modules and 'torch was imported'))"
    )
    command = [sys.executable, "-c", script, "report", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "report.html").exists()
