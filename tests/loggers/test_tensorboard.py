"""TensorBoard's own reader finds what a run logged."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.conftest import TINY


def read(folder: Path) -> tuple[dict[str, list], list[str]]:
    """The (step, value) of each scalar, and the names of the pictures."""
    accumulators = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulators.EventAccumulator(str(folder))
    events.Reload()
    tags = events.Tags()
    scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags["scalars"]}
    return scalars, tags["images"]


def test_figures_and_pictures_are_read_back_after_a_resume(metarun):
    assert metarun(*TINY, "logger=tensorboard", "out=run")[::2] == (0, [])
    assert metarun("resume=run", "steps=6", *TINY[:2])[::2] == (0, [])
    scalars, pictures = read(Path("run/tensorboard"))
    logged = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    for split in ("train", "val"):
        expected = {m["step"]: m["accuracy"] for m in logged if m["split"] == split}
        assert dict(scalars[f"{split}/accuracy"]) == pytest.approx(expected)
    assert sorted(pictures) == ["curves", "episodes"]
    assert any(name.endswith("test/accuracy") for name in scalars)
    assert not Path("run/wandb").exists()


def test_both_loggers_at_once(metarun):
    words = ("logger=wandb", "logger.tensorboard=true", "logger.mode=offline", "out=run")
    assert metarun(*TINY, *words)[::2] == (0, [])
    assert list(Path("run/wandb").glob("offline-run-*"))
    assert "train/loss" in read(Path("run/tensorboard"))[0]


def test_a_list_of_loggers_is_refused_with_a_hint(metarun):
    code, _, err = metarun(*TINY, "logger=[wandb,tensorboard]", "out=run")
    line = "should be one; logger=wandb logger.tensorboard=true is both"
    assert (code, err) == (2, [f"metarun: logger=[wandb,tensorboard]: {line}"])
    assert not Path("run").exists()


@pytest.mark.parametrize(
    "words", [("logger=tensorboard",), ("logger=wandb", "logger.tensorboard=true")]
)
def test_the_package_is_named_where_it_is_missing(metarun, monkeypatch, words):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    code, _, (line,) = metarun(*TINY, *words, "out=run")
    assert code == 2
    assert "logger=tensorboard: needs pip install 'metarun[tensorboard]'" in line
    assert not Path("run").exists()
