"""`metarun show`: the table describes the data, the figure shows the episodes of a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from metarun.algorithms.protonet import ProtoNet
from metarun.data.sinusoid import Waves
from metarun.plots import episodes, sheet
from metarun.tasks.gathered import source_of
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.sampler import Sampler
from metarun.tasks.task import Examples, Task
from tests.conftest import TINY

pytestmark = pytest.mark.ink
Metarun = Callable[..., tuple[int, str, list[str]]]
BLOBS = (*TINY[:2], "data=blobs", "ways=2", "queries=2")

MODULE = """
import numpy as np
from metarun.data.classes import Images, select

class Random:
    def __init__(self, *, shape: list[int], names: str = "class {}", dtype: str = "uint8") -> None:
        self.shape, self.names, self.dtype = shape, names, dtype

    def facts(self):
        return dict.fromkeys(("train", "val", "test"))

    def load(self):
        items = np.random.default_rng(0).integers(0, 255, (18 * 6, *self.shape))
        names = [self.names.format(i) for i in range(18)]
        images = Images.of(items.astype(self.dtype), names, [4, 8] * 9)
        return {s: select(images, names[i::3]) for i, s in enumerate(("train", "val", "test"))}
"""


@pytest.fixture
def random_data(tmp_path: Path) -> list[str]:
    """Return arguments that select a random data set of any shape from a config folder."""
    config_dir = tmp_path / "own"
    (config_dir / "data").mkdir(parents=True)
    (config_dir / "random_data.py").write_text(MODULE)
    keys = "shape: [3, 9, 12]\nnames: class {}\ndtype: uint8\n"
    (config_dir / "data" / "random.yaml").write_text(f"_target_: random_data.Random\n{keys}")
    return ["--config-dir", str(config_dir), "data=random", "ways=2", "queries=2"]


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Sampler]:
    """Return the samplers whose episodes are drawn."""
    samplers: list[Sampler] = []
    original = episodes.draw_episodes

    def draw(path: Path, title: str, sampler: Sampler, numbers: Any) -> bool:
        samplers.append(sampler)
        return original(path, title, sampler, numbers)

    monkeypatch.setattr(episodes, "draw_episodes", draw)
    return samplers


def files() -> list[str]:
    return sorted(path.name for path in Path().iterdir() if path.is_file())


def rows(out: str) -> list[list[str]]:
    return [line.split() for line in out.splitlines() if line.startswith((" train", " val", " te"))]


def test_show_prints_a_table_and_writes_only_a_figure(metarun: Metarun) -> None:
    code, out, err = metarun("show", *BLOBS)
    assert (code, err) == (0, [])
    assert [row[:6] for row in rows(out)] == [
        [split, "12", "240", "20", "1×28×28", "uint8"] for split in ("train", "val", "test")
    ]
    assert out.splitlines()[-1] == "blobs_test.png"
    assert Path("blobs_test.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in Path().iterdir()] == ["blobs_test.png"]


def test_the_table_has_class_sizes_and_hashes(metarun: Metarun, random_data: list) -> None:
    code, out, _ = metarun("show", *random_data)
    assert code == 0
    assert rows(out)[2][:6] == ["test", "6", "36", "4–8", "3×9×12", "uint8"]
    digests = [row[-1] for row in rows(out)]
    assert len(set(digests)) == 3 and {len(d) for d in digests} == {12}


def test_the_test_episodes_are_those_that_a_run_is_tested_on(
    metarun: Metarun, drawn: list[Sampler]
) -> None:
    words = [*TINY, "ways=3", "shots=2", "eval_seed=7"]
    assert metarun(*words, "out=run")[0] == 0
    assert metarun("show", *words)[0] == 0
    protocol = json.loads(Path("run/result.json").read_text())["protocol"]
    assert drawn[0].sha256(protocol["episodes"]) == protocol["episodes_sha256"]


@pytest.mark.parametrize("augmentation", ["none", "images"])
def test_the_training_episodes_are_those_that_a_run_learns_from(
    metarun: Metarun, drawn: list[Sampler], augmentation: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*TINY, "ways=2", "train_shots=3", "seed=7", f"augmentation={augmentation}"]
    trained_on: list[Task] = []
    original = ProtoNet.outer_loss
    monkeypatch.setattr(
        ProtoNet, "outer_loss", lambda self, t: trained_on.append(t) or original(self, t)
    )
    assert metarun(*words, "out=run")[0] == 0
    assert metarun("show", *words, "split=train")[0] == 0
    first = trained_on[1:]  # after the task that is tried before the run
    for shown, task in zip(drawn[0].tasks(range(2)), first, strict=False):
        for part in ("support", "query"):
            assert torch.equal(getattr(shown, part).x, getattr(task, part).x)
            assert torch.equal(getattr(shown, part).y, getattr(task, part).y)


def test_existing_files_are_kept(metarun: Metarun) -> None:
    for _ in range(3):
        assert metarun("show", *BLOBS, "split=val")[0] == 0
    assert files() == ["blobs_val.png", "blobs_val_2.png", "blobs_val_3.png"]
    Path("mine.png").write_text("mine")
    code, out, err = metarun("show", *BLOBS, "out=mine.png")
    assert (code, out) == (2, "")
    assert err == ["metarun: out=mine.png: is there already; choose another name"]
    assert metarun("show", *BLOBS, "out=ours, [ä].png")[0] == 0
    assert "ours, [ä].png" in files()


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("split=tset", "split=tset: should be train, val or test"),
        ("out=x.jpg", "out=x.jpg: should end in .png"),
        ("out=nowhere/x.png", "out=nowhere/x.png: nowhere is not a folder"),
        ("out=", "out=: should be a path: out=PATH"),
        ("shots=0", "shots=0: should be greater than or equal to 1"),
        ("data.noise=-1", "data.noise=-1: should be greater than or equal to 0"),
        ("shots=19", "shots=19 queries=2: a class of blobs has 20 items; shots + queries can be"),
        ("dat=x", "dat: no such key"),
        ("-m", "-m: this command does not take it"),
    ],
)
def test_a_mistake_is_reported_in_one_line_and_writes_no_figure(
    metarun: Metarun, typed: str, line: str
) -> None:
    code, _, err = metarun("show", *BLOBS, typed)
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith(f"metarun: {line}")
    assert files() == []


def test_the_table_is_printed_with_too_few_classes_for_an_episode(
    metarun: Metarun, random_data: list
) -> None:
    code, out, err = metarun("show", *random_data, "ways=7")
    assert code == 2
    assert err == ["metarun: ways=7: the test split of random has 6 classes"]
    assert len(rows(out)) == 3
    assert files() == []


def test_colour_images_keep_their_colours_and_grey_images_stay_grey(
    metarun: Metarun, random_data: list
) -> None:
    assert metarun("show", *random_data, "out=colour.png")[0] == 0
    assert metarun("show", *random_data, "data.shape=[1,9,12]", "out=grey.png")[0] == 0
    assert metarun("show", *random_data, "data.shape=[2,9,12]", "out=two.png")[0] == 0
    colour, grey = (
        np.asarray(Image.open(f).convert("RGB")).astype(int) for f in ("colour.png", "grey.png")
    )
    assert (np.ptp(colour, axis=-1) > 60).mean() > 0.1
    assert np.ptp(grey, axis=-1).max() == 0


def test_the_figure_has_the_images_and_the_names_of_the_classes() -> None:
    x, y = torch.rand(2, 3, 1, 5, 5), torch.tensor([0, 1])
    support = Examples(x[:, 0], y, CLASSIFICATION, 2)
    query = Examples(x[:, 1:].flatten(0, 1), y.repeat_interleave(2), CLASSIFICATION, 2)
    task = Task(support, query)
    _, axes = sheet.sheet([task], sheet.drawn_height([task]), above=0.5)
    sheet.classes(axes, 0, task, ["one", "Two\n$ways"])
    for image, expected in zip(axes.images, x.flatten(0, 2), strict=True):
        np.testing.assert_array_equal(image.get_array(), expected.numpy())
    places = np.array([image.get_extent() for image in axes.images]).reshape(2, 3, 4)
    left, bottom, top = (places[..., side] for side in (0, 2, 3))  # y grows downwards
    assert (np.diff(left, axis=1) > 0).all() and (bottom[0] < top[1]).all()
    assert [text.get_text() for text in axes.texts] == ["0  one", "1  Two $ways"]
    frames = [frame.get_edgecolor() for frame in axes.patches]
    assert frames == [(0.6, 0.6, 0.6, 1), (1, 1, 1, 1), (1, 1, 1, 1)] * 2


@pytest.mark.parametrize("names", ["$\\\\frac {}", "{} 漢字", "{} " + "long " * 40, "[bold]{}"])
def test_class_names_can_contain_any_characters(
    metarun: Metarun, random_data: list, names: str
) -> None:
    code, _, err = metarun("show", *random_data, f'data.names="{names}"')
    assert (code, err) == (0, [])


def test_only_some_of_many_ways_and_shots_are_drawn(metarun: Metarun) -> None:
    words = ("data.classes=90", "ways=30", "shots=9", "queries=1", "out=x.png")
    assert metarun("show", *BLOBS, *words)[0] == 0
    with Image.open("x.png") as picture:
        width, height = picture.size
    assert width < 2000 and height < 5000


def test_curves_are_drawn_with_their_points(
    metarun: Metarun, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(episodes, "save", lambda figure, path: figures.append(figure))
    code, out, err = metarun("show", "data=sinusoid", "shots=4", "queries=6", "split=val")
    assert (code, err) == (0, [])
    assert rows(out)[0][:5] == ["train", "–", "drawn", "–", "1"]
    sampler = Sampler.frozen(source_of(Waves(), (1, 4, 6)), "val", 0)
    assert len(figures[0].axes) == 3
    for number, axes in enumerate(figures[0].axes):
        lines = {line.get_label(): line.get_data() for line in axes.get_lines()}
        (task,) = sampler.tasks([number])
        assert list(lines) == ["true function", "query", "support"]
        np.testing.assert_array_equal(lines["support"][1], task.support.y.flatten())
        np.testing.assert_array_equal(lines["query"][0], task.query.x.flatten())


def test_users_have_a_table_and_no_figure(metarun: Metarun) -> None:
    code, out, err = metarun("show", "data=ratings_world")
    assert (code, err) == (0, [])
    assert rows(out)[0][:4] == ["train", "–", "drawn", "–"]
    assert out.splitlines()[-1] == (
        "items are genre, gender, age, occupation, item_mean: no picture"
    )
    code, _, err = metarun("show", "data=ratings_world", "out=users.png")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: out=users.png: items are genre, gender, age, occupation")
    assert files() == []


def test_regression_has_no_ways(metarun: Metarun) -> None:
    code, _, err = metarun("show", "data=sinusoid", "ways=3")
    assert (code, err) == (2, ["metarun: ways=3: sinusoid has no classes; leave ways out"])
    assert files() == []


def test_vectors_have_a_table_and_no_figure(metarun: Metarun, random_data: list) -> None:
    vectors = ("data.shape=[64]", "data.dtype=float32")
    code, out, err = metarun("show", *random_data, *vectors)
    assert (code, err) == (0, [])
    assert rows(out)[0][4:6] == ["64", "float32"]
    assert out.splitlines()[-1] == "items are vectors of 64 numbers: no picture"
    assert files() == []
    code, _, err = metarun("show", *random_data, *vectors, "split=train", "augmentation=images")
    assert (code, len(err)) == (2, 1)
    assert err[0].startswith("metarun: augmentation: takes pictures")


@pytest.mark.parametrize(
    ("words", "code"), [(["ways=12", "train_ways=5"], 0), (["ways=5", "train_ways=13"], 2)]
)
def test_training_episodes_are_those_of_the_training_task(metarun, words, code) -> None:
    """Each split has 12 classes; `ways` affects only the test task."""
    exit_code, _, err = metarun("show", *TINY, "split=train", "train_queries=1", *words)
    assert exit_code == code
    assert (not err) if code == 0 else "train_ways=13: the train split of blobs has 12" in err[0]
