"""Contents of the figures, before they are saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.mlp import MLP
from metarun.config.compose import checked, compose
from metarun.data.sinusoid import Waves
from metarun.plots import curves, tested
from metarun.plots.curves import draw_curves
from metarun.plots.tested import draw_tested
from metarun.runs import metrics, results
from metarun.tasks.gathered import source_of
from metarun.tasks.headline import Headline
from metarun.tasks.objectives import CLASSIFICATION, REGRESSION
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Spec
from tests.own.blobs import Blobs

pytestmark = pytest.mark.ink


def learner() -> MAML:
    torch.manual_seed(0)
    net = MLP((1,), hidden=[8], batch_norm=False)
    return MAML(net, Spec((1,), 1, REGRESSION), inner_lr=0.02, test_inner_steps=4)


def sampler() -> Sampler:
    return Sampler.frozen(source_of(Waves(), (1, 5, 3)), "test", 0)


def drawn(monkeypatch, draw, *args) -> Figure:
    figures = []
    for module in (curves, tested):
        monkeypatch.setattr(module, "save", lambda figure, path: figures.append(figure) or path)
    assert draw(*args).name == "episodes.png" if draw is not draw_curves else draw(*args)
    return figures[-1]


def test_a_curve_for_each_number_of_inner_steps(monkeypatch) -> None:
    model, tasks = learner(), sampler()
    figure = drawn(monkeypatch, draw_tested, Path(), model, tasks)
    assert len(figure.axes) == 4
    for number, axes in enumerate(figure.axes):
        lines = {line.get_label(): line for line in axes.get_lines()}
        steps = ["0 steps", "1 step", *(f"{n} steps" for n in range(2, 11))]
        assert list(lines) == ["true function", *steps, "support"]
        pick, (task,) = tasks.choose(number), tasks.tasks([number])
        x, truth = lines["true function"].get_data()
        np.testing.assert_allclose(
            np.ravel(truth), pick.amplitude * np.sin(np.ravel(x) - pick.phase)
        )
        np.testing.assert_allclose(
            np.ravel(lines["support"].get_ydata()), task.support.y.numpy().ravel()
        )
        grid = torch.from_numpy(np.array(x, dtype=np.float32)).reshape(-1, 1)
        unadapted = model.net(grid).detach().numpy().ravel()
        np.testing.assert_allclose(np.ravel(lines["0 steps"].get_ydata()), unadapted, rtol=1e-5)
        adapted = model.eval().adapt(task.support)(grid).detach().numpy().ravel()
        np.testing.assert_allclose(np.ravel(lines["4 steps"].get_ydata()), adapted, rtol=1e-4)


def test_drawing_does_not_change_the_learner(tmp_path: Path) -> None:
    model = learner()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    path = draw_tested(tmp_path, model, sampler())
    assert path == tmp_path / "episodes.png"
    assert path.read_bytes().startswith(b"\x89PNG")
    assert model.test_inner_steps == 4
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_a_learner_without_inner_steps_has_one_curve(monkeypatch) -> None:
    class Constant(MAML):
        def adapt(self, support):
            return lambda x: support.y.mean(0, keepdim=True).expand(len(x), 1)

    model = Constant(MLP((1,), hidden=[2]), Spec((1,), 1, REGRESSION))
    del model.test_inner_steps
    figure = drawn(monkeypatch, draw_tested, Path(), model, sampler())
    names = [line.get_label() for line in figure.axes[0].get_lines()]
    assert names == ["true function", "adapted", "support"]


def test_the_loss_has_its_own_axes_only_if_it_differs_from_the_score(tmp_path, monkeypatch) -> None:
    config = checked(compose(["algo=maml", "data=sinusoid", "shots=10", "train_shots=5"]))
    metrics.append(tmp_path, 1, "train", {"loss": 2.0, "mse": 2.0})
    metrics.append(tmp_path, 1, "val", {"loss": 3.0, "mse": 3.0, "ci95": 0.5})
    figure = drawn(monkeypatch, draw_curves, tmp_path, config)
    (axes,) = figure.axes
    assert axes.get_ylabel() == "mse"
    assert [line.get_label() for line in axes.get_lines()] == [
        "training, 5-shot",
        "validation, 10-shot",
    ]
    (tmp_path / metrics.NAME).unlink()
    metrics.append(tmp_path, 1, "val", {"loss": 3.0, "accuracy": 0.3, "ci95": 0.1})
    classes = config.model_copy(update={"ways": 5, "train_ways": 5})
    figure = drawn(monkeypatch, draw_curves, tmp_path, classes)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy"]


def test_curves_show_a_custom_headline(tmp_path, monkeypatch) -> None:
    config = checked(compose(["algo=maml", "data=sinusoid"]))
    headline = Headline("return", higher_is_better=True).as_dict()
    results.write(tmp_path, {"status": "running", "protocol": {"headline": headline}})
    metrics.append(tmp_path, 1, "train", {"loss": 2.0, "mse": 1.0, "return": -5.0})
    metrics.append(tmp_path, 1, "val", {"loss": 3.0, "mse": 1.0, "return": -4.0, "ci95": 0.5})
    figure = drawn(monkeypatch, draw_curves, tmp_path, config)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "return"]
    (band,) = figure.axes[1].collections
    low, high = band.get_paths()[0].get_extents().intervaly
    assert (low, high) == (-4.5, -3.5)


def test_episodes_of_pictures_are_drawn(tmp_path: Path) -> None:
    split = Blobs().load()["test"]
    tasks = Sampler.frozen(source_of(split, (3, 1, 2)), "test", 0)
    model = ProtoNet(MLP((1, 28, 28), hidden=[4]), Spec((1, 28, 28), 3, CLASSIFICATION))
    assert draw_tested(tmp_path, model, tasks).read_bytes().startswith(b"\x89PNG")
