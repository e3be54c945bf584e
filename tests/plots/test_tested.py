"""Contents of the figures, before they are saved."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from metarun.algorithms.maml import MAML
from metarun.algorithms.protonet import ProtoNet
from metarun.backbones.mlp import MLP
from metarun.config.compose import checked, compose
from metarun.data.sinusoid import Waves
from metarun.plots import curves, episodes, tested
from metarun.plots.curves import draw_curves
from metarun.plots.episodes import draw_episodes
from metarun.plots.tested import draw_tested
from metarun.runs import metrics, results
from metarun.tasks.gathered import source_of
from metarun.tasks.headline import Headline
from metarun.tasks.objectives import CLASSIFICATION, REGRESSION
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Spec
from tests.data.test_recordings import splits
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
    assert axes.get_ylabel() == "mean squared error"
    assert [line.get_label() for line in axes.get_lines()] == [
        "training, 5-shot",
        "validation, 10-shot",
    ]
    (tmp_path / metrics.NAME).unlink()
    metrics.append(tmp_path, 1, "val", {"loss": 3.0, "accuracy": 0.3, "ci95": 0.1})
    classes = config.model_copy(update={"ways": 5, "train_ways": 5})
    figure = drawn(monkeypatch, draw_curves, tmp_path, classes)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "accuracy, %"]


def test_curves_show_a_custom_headline(tmp_path, monkeypatch) -> None:
    config = checked(compose(["algo=maml", "data=navigation2d"]))
    headline = Headline("return", higher_is_better=True).as_dict()
    results.write(tmp_path, {"status": "running", "protocol": {"headline": headline}})
    metrics.append(tmp_path, 1, "train", {"loss": 2.0, "mse": 1.0, "return": -5.0})
    metrics.append(tmp_path, 1, "val", {"loss": 3.0, "mse": 1.0, "return": -4.0, "ci95": 0.5})
    figure = drawn(monkeypatch, draw_curves, tmp_path, config)
    assert [axes.get_ylabel() for axes in figure.axes] == ["loss", "return"]
    labels = [line.get_label() for line in figure.axes[0].get_lines()]
    assert labels == ["training", "validation"]  # no ways, no shots
    (band,) = figure.axes[1].collections
    low, high = band.get_paths()[0].get_extents().intervaly
    assert (low, high) == (-4.5, -3.5)


def test_curves_mark_the_tested_checkpoint_and_the_test_figure(tmp_path, monkeypatch) -> None:
    config = checked(compose(["algo=protonet", "data=glyphs"]))
    for step, accuracy in ((1, 0.5), (2, 0.75), (3, 0.625)):
        metrics.append(tmp_path, step, "train", {"loss": 2.0, "accuracy": accuracy})
        metrics.append(tmp_path, step, "val", {"loss": 3.0, "accuracy": accuracy, "ci95": 0.125})
    best = {"best_step": 2, "accuracy": {"mean": 0.75, "ci95": 0.125}}
    test = {"accuracy": {"mean": 0.7, "ci95": 0.01}}
    figure = drawn(monkeypatch, draw_curves, tmp_path, config, best, test)
    _, accuracies = figure.axes
    lines = {line.get_label(): line.get_xydata().tolist() for line in accuracies.get_lines()}
    assert lines["validation, 5-way 1-shot"] == [[1, 50], [2, 75], [3, 62.5]]
    assert lines["best checkpoint, step 2: 75.00 ± 12.50 %"] == [[2, 75]]
    assert [y for _, y in lines["test: 70.00 ± 1.00 %"]] == pytest.approx([70, 70])
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == list(lines)
    assert all(axes.get_legend() is None for axes in figure.axes)


def test_a_score_that_is_no_fraction_is_not_a_percentage(tmp_path, monkeypatch) -> None:
    config = checked(compose(["algo=maml", "data=sinusoid", "shots=10"]))
    metrics.append(tmp_path, 1, "val", {"loss": 0.5, "mse": 0.5, "ci95": 0.1})
    test = {"mse": {"mean": 0.25, "ci95": None}}
    figure = drawn(monkeypatch, draw_curves, tmp_path, config, None, test)
    (axes,) = figure.axes
    assert [line.get_label() for line in axes.get_lines()] == [
        "validation, 10-shot",
        "test: 0.2500",
    ]


def margins(path: Path) -> tuple[int, int]:
    """The white pixels on the left and above the content of a picture."""
    with Image.open(path) as image:
        dark = np.asarray(image.convert("L")) < 250
    return int(dark.any(0).argmax()), int(dark.any(1).argmax())


@pytest.mark.parametrize("name", ["a", "a class with a long name", "x" * 60])
@pytest.mark.parametrize("draw", ["tested", "shown"])
def test_pictures_of_episodes_have_no_empty_margin(tmp_path: Path, name: str, draw: str) -> None:
    split = Blobs().load()["test"]
    named = replace(split, names=tuple(f"{name}{i}" for i in range(len(split.names))))
    tasks = Sampler.frozen(source_of(named, (3, 1, 12)), "test", 0)
    path = tmp_path / "episodes.png"
    if draw == "tested":
        draw_tested(tmp_path, model_of_pictures(), tasks)
    else:
        assert draw_episodes(path, "blobs", tasks, [0, 1])
    assert max(margins(path)) < 30


@pytest.mark.parametrize(("shots", "queries"), [(1, 1), (1, 8), (5, 10), (7, 13)])
def test_up_to_ten_queries_are_drawn_whatever_the_number_of_shots(
    monkeypatch, shots: int, queries: int
) -> None:
    figures = []
    monkeypatch.setattr(episodes, "save", lambda figure, path: figures.append(figure))
    tasks = Sampler.frozen(source_of(Blobs().load()["test"], (2, shots, queries)), "test", 0)
    assert draw_episodes(Path("a.png"), "blobs", tasks, [0])
    assert len(figures[0].axes[0].images) == 2 * (min(shots, 5) + min(queries, 10))


def model_of_pictures() -> ProtoNet:
    return ProtoNet(MLP((1, 28, 28), hidden=[4]), Spec((1, 28, 28), 3, CLASSIFICATION))


def test_episodes_of_pictures_are_drawn(tmp_path: Path) -> None:
    split = Blobs().load()["test"]
    tasks = Sampler.frozen(source_of(split, (3, 1, 2)), "test", 0)
    assert draw_tested(tmp_path, model_of_pictures(), tasks).read_bytes().startswith(b"\x89PNG")


def test_recordings_are_drawn_as_spectrograms_with_the_vote_of_their_clips(monkeypatch) -> None:
    """Grey pictures of the first clip, at most 1, and the accuracy of the averaged clips."""
    split = splits()["test"]
    tasks = Sampler.frozen(source_of(split, (3, 1, 2)), "test", 0)
    net = ProtoNet(MLP(split.shape, hidden=[4]), Spec(split.shape, 3, CLASSIFICATION))
    figure = drawn(monkeypatch, draw_tested, Path("."), net, tasks)
    (task,) = tasks.tasks([0])
    accuracy = 100 * float(task.query.judge(net.eval().adapt(task.support)).scores["accuracy"])
    title = figure.get_suptitle()
    assert f"{accuracy:.0f} % of 6 correct" in title and split.caption in title
    expected = split.pictures(task.query.x[:1])[0, 0]
    picture = torch.as_tensor(figure.axes[0].images[1].get_array())
    torch.testing.assert_close(picture.to(expected.dtype), expected)
    assert float(expected.min()) >= 0 and float(expected.max()) <= 1
