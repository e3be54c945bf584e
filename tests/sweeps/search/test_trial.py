"""The values that a trial reports to its search."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from metarun.errors import Pruned
from metarun.runs import metrics, results
from metarun.sweeps.search.trial import _Job
from metarun.tasks.headline import ACCURACY, Headline

MAE = Headline("mae", higher_is_better=False)
SCORES = {"loss": 3.0, "mae": 0.25, "accuracy": 0.5}


class Recorder:
    """A study that only records reports."""

    def __init__(self) -> None:
        self.values: dict[int, float] = {}

    def report(self, number: int, step: int, value: float) -> None:
        self.values[step] = value

    def should_prune(self, number: int, every: int) -> bool:
        return False


@pytest.mark.parametrize(
    ("protocol", "value"),
    [({}, 0.5), ({"headline": ACCURACY.as_dict()}, 0.5), ({"headline": MAE.as_dict()}, -0.25)],
)
def test_the_reported_score_is_the_headline_in_the_result_file(
    tmp_path: Path, protocol: dict, value: float
) -> None:
    job = _Job(study := Recorder(), 0, tmp_path, "")
    job.config = SimpleNamespace(steps=9, eval_every=1)
    results.write(tmp_path, {"status": "running", "protocol": protocol, "val": None})
    metrics.append(tmp_path, 1, "train", SCORES)
    metrics.append(tmp_path, 2, "val", {**SCORES, "ci95": 0.1})
    metrics.append(tmp_path, 3, "val", {"loss": 3.0, "mae": float("nan"), "accuracy": float("nan")})
    job._report_missing()
    job.validated(4, {name: {"mean": mean, "ci95": 0.1} for name, mean in SCORES.items()})
    assert study.values == {2: value, 4: value}


def test_only_a_run_with_steps_to_go_is_pruned(tmp_path: Path) -> None:
    """A validation before the first step is that of a learner with nothing to train."""
    job = _Job(study := Recorder(), 0, tmp_path, "")
    job.config = SimpleNamespace(steps=9, eval_every=1)
    study.should_prune = lambda number, every: True
    val = {name: {"mean": mean, "ci95": 0.1} for name, mean in SCORES.items()}
    for step in (0, 9):
        job.validated(step, val)
    with pytest.raises(Pruned):
        job.validated(4, val)
