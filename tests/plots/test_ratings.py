"""Predicted against true numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn

from metarun.algorithms.mean_rating import MeanRating
from metarun.data.ratings_world import Ratings
from metarun.plots import ratings
from metarun.plots.tested import draw_tested
from metarun.tasks.sampler import Sampler


def test_support_and_queries_of_four_users(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(ratings, "save", lambda figure, path: figures.append(figure) or path)
    source = Ratings().load()["test"]
    sampler = Sampler.frozen(source, "test", 0)
    learner = MeanRating(nn.Identity(), source.spec, of="item")
    assert draw_tested(Path(), learner, sampler) == Path("episodes.png")
    (figure,) = figures
    for task, axes in zip(sampler.tasks(range(4)), figure.axes, strict=True):
        points = {line.get_label(): line.get_data() for line in axes.get_lines()}
        for name, part in (("support", task.support), ("query", task.query)):
            np.testing.assert_allclose(points[name][0], part.y.flatten())
            np.testing.assert_allclose(points[name][1], part.x["item_mean"])
        error = np.abs(np.subtract(*points["query"])).mean()
        assert f"{len(task.support)} support, 10 query\nmae {error:.2f}, " in axes.get_title()
