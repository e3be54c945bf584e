"""Curves are read from `metrics.jsonl` and downsampled; malformed lines are skipped."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from metarun.report import curves
from metarun.report.curves import MAX_POINTS, left_out, reached, read_curves
from metarun.tasks.headline import Headline
from tests.report.material import curve
from tests.report.test_comparison import RETURN


def written(folder: Path, text: str) -> Path:
    (folder / "metrics.jsonl").write_text(text)
    return folder


def test_a_short_curve_is_shown_point_by_point(tmp_path: Path) -> None:
    result = read_curves(written(tmp_path, curve()))
    assert result["val"] == {
        "step": [10, 20, 30, 40],
        "loss": [0.2, 0.1, 0.066667, 0.05],
        "accuracy": [0.90909, 0.95238, 0.96774, 0.97561],
        "ci95": [0.02] * 4,
    }
    assert result["train"]["step"] == list(range(1, 41))
    assert "ci95" not in result["train"]


def test_the_curve_of_a_custom_headline(tmp_path: Path) -> None:
    folder = written(tmp_path, curve("return"))
    assert list(read_curves(folder, RETURN)["val"]) == ["loss", "return", "ci95", "step"]
    assert "return" not in read_curves(folder)["val"]
    odd = Headline("step", higher_is_better=True)  # malformed: not a score
    assert read_curves(folder, odd)["train"]["step"] == list(range(1, 41))


def test_a_long_curve_is_downsampled_to_means(tmp_path: Path) -> None:
    steps = 10 * MAX_POINTS
    result = read_curves(written(tmp_path, curve(steps=steps)))["train"]
    exact = (2 / np.arange(1, steps + 1)).reshape(MAX_POINTS, 10).mean(1)
    np.testing.assert_allclose(result["loss"], exact, rtol=1e-4)
    np.testing.assert_allclose(result["step"], 5.5 + 10 * np.arange(MAX_POINTS), rtol=1e-4)


def test_missing_numbers_are_gaps_and_malformed_lines_are_skipped(tmp_path: Path) -> None:
    text = "\n".join(
        [
            '{"step": 1, "split": "val", "loss": null}',
            '{"step": 2, "split": "val", "loss": 2}',
            '{"step": true, "split": "val"}',
            '{"step": -1, "split": "val"}',
            "[1]",
            "7",
            "",
            '{"step": 3, "split": "<b>", "loss": 1}',
            '{"step": 1e999, "split": "val"}',
            '{"step": 4, "split": "val", "loss": 1e999}',
            '{"step": 5, "split": "val", "loss": "4"}',
            "[" * 100_000,
            '{"step": 6, "split": "val", "lo',
        ]
    )
    result = read_curves(written(tmp_path, text))
    assert result == {"val": {"step": [1, 2, 4, 5], "loss": [None, 2, None, None]}}


@given(st.text(max_size=200) | st.recursive(st.floats() | st.text(), st.lists).map(json.dumps))
def test_arbitrary_file_content(tmp_path_factory, text: str) -> None:
    folder = tmp_path_factory.mktemp("run")
    (folder / "metrics.jsonl").write_bytes(text.encode("utf-8", "surrogatepass"))
    json.dumps(read_curves(folder), allow_nan=False)


def test_a_file_that_is_too_large_is_reported(tmp_path: Path, monkeypatch) -> None:
    folder = written(tmp_path, curve())
    assert left_out(folder) == ""
    monkeypatch.setattr(curves, "MAX_BYTES", len(curve()) - 1)
    assert read_curves(folder) == {}
    assert left_out(folder) == "metrics.jsonl is larger than 0 MB: its curves are left out"


def test_a_missing_file_gives_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {}
    assert left_out(tmp_path) == ""
    assert reached({}) == 0


def test_the_last_step_of_the_curves(tmp_path: Path) -> None:
    assert reached(read_curves(written(tmp_path, curve(steps=37)))) == 37
