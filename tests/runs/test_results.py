"""How results are written and shown."""

from __future__ import annotations

import json
import math
from pathlib import Path

from rich.console import Console

from metarun.runs import results


def shown(result: dict) -> str:
    console = Console(width=160, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    with console.file:
        console.print(results.table(result, 160))
    return console.export_text()


def test_nan_and_infinity_become_null(tmp_path: Path) -> None:
    results.write(tmp_path, {"test": {"ci95": math.nan, "list": [math.inf, 1.5]}})
    assert json.loads((tmp_path / "result.json").read_text()) == {
        "test": {"ci95": None, "list": [None, 1.5]}
    }


def test_a_damaged_result_is_none(tmp_path: Path) -> None:
    assert results.read_result(tmp_path) is None
    (tmp_path / "result.json").write_text("{")
    assert results.read_result(tmp_path) is None


def test_a_result_is_shown_by_its_headline_score() -> None:
    headline = {"score": "return", "higher_is_better": True}
    stat = {"loss": {"mean": 9.0}, "mse": {"mean": 8.0}, "return": {"mean": -7.25, "ci95": 0.5}}
    result = {"status": "completed", "protocol": {"headline": headline}, "test": stat, "val": None}
    assert "-7.2500 ± 0.5000" in shown(result)
    assert "8.0000" in shown(result | {"protocol": {}})
    assert "80.00 %" in shown({"val": {"accuracy": {"mean": 0.8, "ci95": None}}})


def test_hours_minutes_seconds() -> None:
    assert [results.clock(s) for s in (0, 59.6, 61, 3725)] == ["0:00", "1:00", "1:01", "1:02:05"]


def test_an_unfinished_run_shows_its_status_and_no_figure() -> None:
    text = shown({"status": "interrupted", "test": {"accuracy": {"mean": 1.0}}})
    assert "interrupted" in text
    assert "100" not in text


def test_versions_contain_the_packages_that_affect_results() -> None:
    assert {"metarun", "python", "torch", "learn2learn", "numpy"} <= results.versions().keys()


def test_a_result_fits_its_terminal() -> None:
    figure = {"accuracy": {"mean": 0.8705, "ci95": 0.0067}}
    published = {"accuracy": {"mean": 0.958, "ci95": 0.003}, "source": "table 1"}
    protocol = {"data": "tiered_imagenet", "ways": 20, "shots": 5, "published": published}
    run = {"algo": "matchingnet", "steps": 60000, "wall_seconds": 40000}
    result = {"status": "completed", "run": run, "test": figure, "val": figure}
    for width in (50, 80):
        console = Console(width=width)
        with console.capture() as capture:
            console.print(results.table(result | {"protocol": protocol}, width))
        lines = capture.get().splitlines()
        assert max(map(len, lines)) <= width
        assert any(line.count("87.05 ± 0.67 %") == 2 for line in lines)
