"""The run's own record survives a crash, and can be cut back to a checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

from metarun import metrics


def test_lines_come_back_in_order(tmp_path: Path) -> None:
    metrics.append(tmp_path, 1, "train", {"loss": 0.5})
    metrics.append(tmp_path, 2, "val", {"loss": 0.25, "accuracy": 1.0})
    assert metrics.read(tmp_path) == [
        {"step": 1, "split": "train", "loss": 0.5},
        {"step": 2, "split": "val", "loss": 0.25, "accuracy": 1.0},
    ]


def test_what_is_not_a_number_is_null_as_json_wants_it(tmp_path: Path) -> None:
    metrics.append(tmp_path, 1, "val", {"ci95": math.nan, "loss": math.inf})
    assert metrics.read(tmp_path) == [{"step": 1, "split": "val", "ci95": None, "loss": None}]


def test_a_line_that_a_crash_cut_short_is_left_out(tmp_path: Path) -> None:
    metrics.append(tmp_path, 1, "train", {"loss": 0.5})
    with (tmp_path / metrics.NAME).open("a") as file:
        file.write('{"step": 2, "spl')
    assert [line["step"] for line in metrics.read(tmp_path)] == [1]


def test_cutting_keeps_what_the_checkpoint_had_seen(tmp_path: Path) -> None:
    for step in (1, 2, 3):
        metrics.append(tmp_path, step, "train", {"loss": 1.0})
        metrics.append(tmp_path, step, "val", {"loss": 1.0})
    metrics.cut(tmp_path, step=2, validated=1)
    kept = [(line["step"], line["split"]) for line in metrics.read(tmp_path)]
    assert kept == [(1, "train"), (1, "val"), (2, "train")]


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    assert metrics.read(tmp_path) == []
