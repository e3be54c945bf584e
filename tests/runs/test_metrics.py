"""`metrics.jsonl` survives a crash and can be cut back to a checkpoint."""

from __future__ import annotations

import math
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import pytest

from metarun.runs import metrics


def test_lines_are_read_back_in_order(tmp_path: Path) -> None:
    metrics.append(tmp_path, 1, "train", {"loss": 0.5})
    metrics.append(tmp_path, 2, "val", {"loss": 0.25, "accuracy": 1.0})
    assert metrics.read_metrics(tmp_path) == [
        {"step": 1, "split": "train", "loss": 0.5},
        {"step": 2, "split": "val", "loss": 0.25, "accuracy": 1.0},
    ]


def test_values_that_are_not_finite_become_null(tmp_path: Path) -> None:
    metrics.append(tmp_path, 1, "val", {"ci95": math.nan, "loss": math.inf})
    assert metrics.read_metrics(tmp_path) == [
        {"step": 1, "split": "val", "ci95": None, "loss": None}
    ]


def test_a_truncated_line_is_left_out(tmp_path: Path) -> None:
    metrics.append(tmp_path, 1, "train", {"loss": 0.5})
    with (tmp_path / metrics.NAME).open("a") as file:
        file.write('{"step": 2, "spl')
    assert [line["step"] for line in metrics.read_metrics(tmp_path)] == [1]


def written(out: Path, steps: int = 3) -> SimpleNamespace:
    """Two lines for each step; the state of a run after the training of step 2."""
    record = metrics.record()
    for step in range(1, steps + 1):
        metrics.append(out, step, "train", {"loss": 1.0 / step}, record)
        if step == 2:
            state = SimpleNamespace(step=2, validated=1, metrics=dict(record))
        metrics.append(out, step, "val", {"loss": 1.0}, record)
    return state


def steps_and_splits(out: Path) -> list[tuple[int, str]]:
    return [(line["step"], line["split"]) for line in metrics.read_metrics(out)]


def test_cut_keeps_the_lines_before_the_checkpoint(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = written(tmp_path)
    before = (tmp_path / metrics.NAME).read_bytes().splitlines(keepends=True)
    metrics.cut(tmp_path, state)
    assert (tmp_path / metrics.NAME).read_bytes() == b"".join(before[:3])
    assert steps_and_splits(tmp_path) == [(1, "train"), (1, "val"), (2, "train")]
    assert not caplog.records


@pytest.mark.parametrize(
    ("find", "replace", "kept"),
    [
        (b'"loss": 0.5', b'"loss": 0.7', 3),  # valid JSON: only the digest differs
        (b'"loss": 1.0', b'"loss": 1.0}', 1),
        (b'"train"', b'"trai\xff"', 1),
        (b'{"step": 1, "split": "val"', b"[" * 10**5, 2),
        (b'{"step": 2', b'{"step": "2"', 2),
        (b'"split": "val"', b'"split": ["val"]', 2),
        (b'"loss": 1.0', b'"loss": ' + b"9" * 10_000, 1),
    ],
)
def test_damage_is_reported_and_readable_lines_are_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, find: bytes, replace: bytes, kept: int
) -> None:
    state, file = written(tmp_path), tmp_path / metrics.NAME
    file.write_bytes(file.read_bytes().replace(find, replace))
    metrics.cut(tmp_path, state)
    (line,) = caplog.messages
    assert line.startswith(f"{file}: damaged: {kept} of its 3 lines can be read")
    assert len(metrics.read_metrics(tmp_path)) == state.metrics["lines"] == kept
    metrics.cut(tmp_path, state)  # the corrected record matches the file
    assert len(caplog.messages) == 1


def test_a_missing_file_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state = written(tmp_path)
    (tmp_path / metrics.NAME).unlink()
    metrics.cut(tmp_path, state)
    assert "0 of its 3 lines" in caplog.text


def test_without_a_file_there_are_no_lines(tmp_path: Path) -> None:
    assert metrics.read_metrics(tmp_path) == []


@pytest.mark.parametrize("ending", ["zeros", "lines"])
def test_a_huge_file_is_not_kept_in_memory(
    tmp_path: Path, ending: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The file may come from somebody else, and a run may be stopped long after its checkpoint."""
    state, size = written(tmp_path), 2 * 10**7
    with (tmp_path / metrics.NAME).open("ab") as file:
        if ending == "zeros":
            file.truncate(size)
        else:
            file.write(b'{"step": 9}\n' * (size // 12))
    before = (tmp_path / metrics.NAME).read_bytes()[:500].splitlines(keepends=True)
    tracemalloc.start()
    try:
        metrics.cut(tmp_path, state)
        assert tracemalloc.get_traced_memory()[1] < size / 20
    finally:
        tracemalloc.stop()
    assert (tmp_path / metrics.NAME).read_bytes() == b"".join(before[:3])
    assert not caplog.records
