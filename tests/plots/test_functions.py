"""Pictures of functions to minimise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from torch import nn

from metarun.algorithms.hand_optimizer import HandOptimizer
from metarun.data.objectives import Objectives
from metarun.plots import episodes, functions, tested
from metarun.plots.tested import draw_tested
from metarun.stats import interval
from metarun.tasks.sampler import Sampler


def drawn(
    monkeypatch: pytest.MonkeyPatch, lr: float
) -> tuple[Figure, list[dict[str, float]], Sampler]:
    """The picture of 20 functions, and the scores on them."""
    figures: list[Figure] = []
    monkeypatch.setattr(tested, "save", lambda figure, path: figures.append(figure) or path)
    monkeypatch.setattr(functions, "MEAN_OF", 20)
    source = Objectives(family="quadratic", horizon=6).load()["test"]
    sampler = Sampler.frozen(source, "test", 0)
    learner = HandOptimizer(nn.Identity(), source.spec, method="sgd", lr=lr).eval()
    assert draw_tested(Path(), learner, sampler) == Path("episodes.png")
    scores = [
        {k: float(v) for k, v in t.query.judge(learner.adapt(t.support)).scores.items()}
        for t in sampler.tasks(range(20))
    ]
    return figures[0], scores, sampler


def test_the_mean_value_after_each_step_with_its_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    figure, scores, _ = drawn(monkeypatch, 0.005)
    stats = [interval(np.array([s[f"loss_{k}"] for s in scores])) for k in range(7)]
    (mean,) = figure.axes[0].get_lines()
    np.testing.assert_allclose(mean.get_ydata(), [s["mean"] for s in stats], rtol=1e-5)
    band = figure.axes[0].collections[0].get_datalim(figure.axes[0].transData)
    highest = max(s["mean"] + s["ci95"] for s in stats)
    assert band.y1 == pytest.approx(highest, rel=1e-5)
    assert len(figure.axes[1].get_lines()) == functions.SINGLE
    assert "diverge" not in figure.get_suptitle()


def test_functions_that_diverge_are_counted_and_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    figure, scores, _ = drawn(monkeypatch, 0.065)
    lost = sum(int(s["diverged"]) for s in scores)
    assert 0 < lost < 20
    assert f"{lost} of 20 diverge and are left out" in figure.get_suptitle()


@pytest.mark.parametrize("family", ["logistic", "network"])
def test_functions_are_shown_around_their_start(
    monkeypatch: pytest.MonkeyPatch, family: str
) -> None:
    figures: list[Figure] = []
    monkeypatch.setattr(episodes, "save", lambda figure, path: figures.append(figure))
    source = Objectives(family=family).load()["test"]
    sampler = Sampler.frozen(source, "test", 0)
    assert episodes.draw_episodes(Path(), "objectives", sampler, range(3))
    for task, axes in zip(sampler.tasks(range(3)), figures[0].axes, strict=True):
        (start,) = axes.get_lines()
        np.testing.assert_allclose(np.ravel(start.get_data()), task.query.start[:2])
        assert f"{len(task.query.start)} numbers" in axes.get_title()
