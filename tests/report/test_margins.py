"""Paired differences after each step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarun.report import tested
from metarun.report.comparison import Pair
from metarun.report.margins import margins
from metarun.runs.episodes import write_scores
from metarun.stats import difference
from metarun.tasks.headline import Headline

HEADLINE = Headline("final_loss", higher_is_better=False)


def written(folder: Path, scores: dict[str, np.ndarray]) -> tested.Tested:
    folder.mkdir()
    write_scores(folder, scores, None, "final_loss")
    result = {"protocol": {"episodes": 4}, "test": {name: {} for name in scores}}
    return tested.Tested(folder, HEADLINE, scores["final_loss"], result)


def test_margins_are_paired_differences_after_some_steps(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = [
        {"final_loss": rng.random(4), **{f"loss_{k}": rng.random(4) for k in range(last + 1)}}
        for last in (12, 30)
    ]
    a, b = (written(tmp_path / name, s) for name, s in zip("ab", scores, strict=True))
    found = margins([Pair(a, b, difference(a.values, b.values), 1.0)])
    assert list(found) == [1, 2, 5, 10, 12]
    for step, (of_pair,) in found.items():
        expected = difference(*(s[f"loss_{step}"] for s in scores))
        assert of_pair == pytest.approx(expected)


def test_other_scores_have_no_margins(tmp_path: Path) -> None:
    scores = {"final_loss": np.zeros(4), "loss": np.zeros(4), "loss_x": np.zeros(4)}
    a, b = (written(tmp_path / name, scores) for name in "ab")
    assert margins([Pair(a, b, difference(a.values, b.values), 1.0)]) == {}
