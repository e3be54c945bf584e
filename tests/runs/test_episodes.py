"""The figures of a test, and its files `test_episodes.csv` and `test_classes.csv`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from metarun.runs.episodes import figures_of, write_scores
from metarun.stats import interval, over_classes
from metarun.tasks.sampler import Classes

SCORES = {"loss": np.array([0.5, 1 / 3]), "accuracy": np.array([1.0, 0.5])}
CLASSES = Classes(["a", "b", "c"], np.array([[2, 0], [0, 1]]))


def test_there_is_one_row_per_test_episode(tmp_path: Path) -> None:
    write_scores(tmp_path, SCORES, None, "accuracy")
    text = (tmp_path / "test_episodes.csv").read_text()
    assert text == "episode,loss,accuracy\n0,0.5,1.0\n1,0.3333333333333333,0.5\n"
    assert not (tmp_path / "test_classes.csv").exists()


def test_each_class_has_its_mean_score_and_its_episodes(tmp_path: Path) -> None:
    write_scores(tmp_path, SCORES, CLASSES, "accuracy")
    text = (tmp_path / "test_classes.csv").read_text()
    assert text == "class,accuracy,episodes\na,0.75,0 1\nb,0.5,1\nc,1.0,0\n"


def test_the_interval_over_classes_stands_beside_that_over_episodes() -> None:
    rng = np.random.default_rng(0)
    of_tasks = np.stack([rng.choice(12, 3, replace=False) for _ in range(40)])
    scores = {"loss": rng.normal(size=40), "accuracy": rng.uniform(size=40)}
    test = figures_of(scores, Classes([str(c) for c in range(12)], of_tasks))
    assert (test["episodes"], test["classes"]) == (40, 12)
    for name, values in scores.items():
        assert test[name] == {**interval(values), "ci95_classes": over_classes(values, of_tasks)}


@pytest.mark.parametrize("classes", [None, Classes(["a", "b"], np.array([[0, 1], [1, 0]]))])
def test_without_classes_or_without_others_there_is_no_interval_over_them(
    classes: Classes | None,
) -> None:
    assert set(figures_of(SCORES, classes)["accuracy"]) == {"mean", "ci95"}
