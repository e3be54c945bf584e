"""The command `metarun compare`."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from tests.conftest import TINY
from tests.report.test_comparison import EPISODES, finished

Metarun = Callable[..., tuple[int, str, list[str]]]


def test_two_trained_runs_and_an_evaluation(metarun: Metarun) -> None:
    for seed in (0, 1):
        assert metarun(*TINY, f"seed={seed}", f"out=run{seed}")[0] == 0
    assert metarun("evaluate", "run=run0", "name=again", *TINY[:2])[0] == 0
    before = sorted(Path.cwd().rglob("*"))
    code, out, err = metarun("compare", "run0", "run1", "run0/evaluations/again")
    assert (code, err) == (0, [])
    assert "run0 − run1" in out
    same = next(line for line in out.splitlines() if "run0 − run0/evaluations/again" in line)
    assert "+0.00 ± 0.00 points" in same
    assert "not significant" in same
    assert "corrected for 3 comparisons (Holm); the intervals are not" in out
    assert "8 episodes of blobs test, 5-way 1-shot, inductive batch norm" in out
    assert sorted(Path.cwd().rglob("*")) == before


@pytest.mark.parametrize(
    ("score", "better"), [("accuracy", "high"), ("mse", "low"), ("return", "high"), ("mae", "low")]
)
def test_the_better_run_is_named(metarun: Metarun, score: str, better: str) -> None:
    for name, value in (("low", 0.25), ("high", 0.5)):
        folder, result = finished(Path(name), 0, score)
        values = [value + 0.01 * (i % 3) for i in range(EPISODES)]
        result["test"][score]["mean"] = sum(values) / EPISODES
        (folder / "result.json").write_text(json.dumps(result))
        rows = "".join(f"{i},{v}\n" for i, v in enumerate(values))
        (folder / "test_episodes.csv").write_text(f"episode,{score}\n{rows}")
    for pair in (("low", "high"), ("high", "low")):
        code, out, _ = metarun("compare", *pair)
        assert code == 0
        assert f"{better} is better" in out
        assert ("points" in out) == (score == "accuracy")
        assert (f"; a lower {score} is better" in out) == (better == "low")


def test_the_pairs_are_written_to_a_new_file(metarun: Metarun) -> None:
    finished(Path("a"), 0)
    finished(Path("b"), 1)
    assert metarun("compare", "a", "b", "out=pairs.csv")[0] == 0
    (row,) = csv.DictReader(Path("pairs.csv").read_text().splitlines())
    assert (row["run_a"], row["run_b"]) == ("a", "b")
    code, out, err = metarun("compare", "a", "b", "out=pairs.csv")
    assert (code, out) == (2, "")
    assert err == ["metarun: out=pairs.csv: is there already; choose another name"]


def test_all_mistakes_are_reported(metarun: Metarun) -> None:
    finished(Path("a"), 0)
    Path("empty").mkdir()
    code, out, err = metarun("compare", "a", "./a", "none", "empty", "shots=5", "out=x")
    assert (code, out) == (2, "")
    assert err == [
        "metarun: a: the same folder as a: nothing to compare",
        "metarun: shots=5: no such folder; compare takes folders, and out=FILE.csv",
        "metarun: out=x: should end in .csv",
        "metarun: none: no such folder",
        "metarun: empty: holds no test: result.json is not there",
    ]


@pytest.mark.parametrize("words", [[], ["a"], ["a", "out=b.csv"]])
def test_one_run_cannot_be_compared(metarun: Metarun, words: list[str]) -> None:
    finished(Path("a"), 0)
    code, _, err = metarun("compare", *words)
    assert code == 2
    assert err == [
        "metarun: compare: name at least two runs: metarun compare RUN_A RUN_B [RUN_C …]"
    ]


def test_runs_with_different_protocols_are_refused(metarun: Metarun) -> None:
    finished(Path("a"), 0)
    finished(Path("b"), 1, batch_norm="transductive")
    code, out, err = metarun("compare", "a", "b", "out=pairs.csv")
    assert (code, out) == (2, "")
    assert err[0] == (
        "metarun: compare: batch_norm: inductive in a, transductive in b: not the same protocol"
    )
    assert not Path("pairs.csv").exists()


def test_folder_names_are_not_read_as_markup(metarun: Metarun) -> None:
    finished(Path("[red]a[/red]"), 0)
    finished(Path("b=1"), 1)
    code, out, _ = metarun("compare", "[red]a[/red]", "b=1")
    assert code == 0
    assert "[red]a[/red] − b=1" in out


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_an_unreadable_file_is_reported(metarun: Metarun) -> None:
    finished(Path("a"), 0)
    folder, _ = finished(Path("b"), 1)
    (folder / "result.json").chmod(0)
    code, _, err = metarun("compare", "a", "b")
    assert (code, len(err)) == (2, 1)
    assert "Permission denied" in err[0]


def test_a_pipe_is_refused(metarun: Metarun) -> None:
    finished(Path("a"), 0)
    folder, _ = finished(Path("b"), 1)
    (folder / "test_episodes.csv").unlink()
    os.mkfifo(folder / "test_episodes.csv")
    code, _, err = metarun("compare", "a", "b")
    assert (code, len(err)) == (2, 1)
    assert "not a file" in err[0]


def test_compare_does_not_import_torch(tmp_path: Path) -> None:
    finished(tmp_path / "a", 0)
    finished(tmp_path / "b", 1)
    code = (
        "import sys; from metarun.cli import main; assert main(['compare', 'a', 'b']) == 0; "
        "sys.exit(bool({'torch', 'learn2learn', 'wandb', 'matplotlib'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, capture_output=True)


def test_long_names_do_not_wrap_figures(metarun: Metarun, monkeypatch) -> None:
    monkeypatch.setattr("metarun.training.display.console", lambda: Console(width=80))
    folders = [f"runs/a_long_name_of_a_sweep_with_many_settings/{i}_and_more" for i in range(2)]
    for i, folder in enumerate(folders):
        finished(Path(folder), i)
    out = metarun("compare", *folders)[1].splitlines()
    table = [line for line in out if line.startswith(" ")]
    assert max(map(len, table)) <= 80
    assert sum("points" in line and "±" in line for line in table) == 1
    assert sum(" ± " in line and "%" in line for line in table) == 2
