"""Backbones that start from weights, frozen or not, and what the protocol says of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metarun import cli
from tests.conftest import TINY
from tests.own.blobs import Blobs
from tests.test_train import result

Metarun = Callable[..., tuple[int, str, list[str]]]
WORDS = [*TINY, "backbone=conv4", "backbone.filters=4"]


def weights_in(run: str, prefix: str = "") -> dict[str, torch.Tensor]:
    learner = torch.load(Path(run, "checkpoints/best.pt"), weights_only=True)["learner"]
    return {k.removeprefix(prefix): v for k, v in learner.items() if k.startswith(prefix)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "first"
    assert cli.main([*WORDS, "algo=baseline", "seed=3", f"out={out}"]) == 0
    return out


@pytest.fixture
def first(metarun: Metarun, trained: Path) -> str:
    shutil.copytree(trained, "first")
    return "first"


def test_a_frozen_backbone_keeps_the_weights_of_a_run(metarun: Metarun, first: str) -> None:
    words = ["algo=simpleshot", f"backbone.weights={first}", "backbone.frozen=true", "out=second"]
    assert metarun(*WORDS, *words)[0] == 0
    kept, given = weights_in("second", "backbone.net."), weights_in(first, "backbone.")
    assert given.keys() == kept.keys()
    assert all(torch.equal(kept[name], given[name]) for name in given)
    record = result("second")["protocol"]["pretraining"]
    assert (record["run"], record["train_data"]) == ("first", "blobs")
    assert result("second")["run"]["steps"] == 0
    assert result(first)["protocol"]["pretraining"] is None


def test_weights_are_a_start_where_they_are_not_frozen(metarun: Metarun, first: str) -> None:
    words = ["algo=meta_baseline", f"backbone.weights={first}", "optimizer.lr=1e-9", "out=second"]
    assert metarun(*WORDS, *words)[0] == 0
    name = "blocks.0.weight"
    trained, given = weights_in("second", "backbone."), weights_in(first, "backbone.")
    assert not torch.equal(trained[name], given[name])
    torch.testing.assert_close(trained[name], given[name], atol=1e-6, rtol=0)


def test_a_trained_run_is_evaluated_without_the_weights_it_began_with(
    metarun: Metarun, first: str
) -> None:
    words = ["algo=simpleshot", f"backbone.weights={first}", "backbone.frozen=true", "out=second"]
    assert metarun(*WORDS, *words)[0] == 0
    Path(first).rename("elsewhere")
    assert metarun("evaluate", "run=second", "name=again", *TINY[:2])[::2] == (0, [])
    again = json.loads(Path("second/evaluations/again/result.json").read_text())
    assert again["test"]["accuracy"] == result("second")["test"]["accuracy"]
    assert again["protocol"]["pretraining"] == result("second")["protocol"]["pretraining"]


@pytest.mark.parametrize("nest", [None, "state_dict", "model"])
def test_weights_of_a_file(metarun: Metarun, first: str, nest: str | None) -> None:
    weights = weights_in(first, "backbone.")
    torch.save(weights if nest is None else {nest: weights, "epoch": 3}, "net.pth")
    words = ["algo=simpleshot", "backbone.weights=net.pth", "backbone.frozen=true", "out=second"]
    assert metarun(*WORDS, *words)[0] == 0
    kept = weights_in("second", "backbone.net.")
    assert all(torch.equal(kept[name], weights[name]) for name in weights)
    record = result("second")["protocol"]["pretraining"]
    assert (record["file"], record["seen"]) == ("net.pth", "unknown")


def test_a_run_that_was_trained_on_a_test_class_is_refused(metarun: Metarun, first: str) -> None:
    words = ["algo=simpleshot", f"backbone.weights={first}", "data.classes=30", "out=second"]
    code, _, err = metarun(*WORDS, *words)
    assert (code, len(err)) == (2, 1)
    assert f"backbone.weights={Path(first).resolve()}: was trained on" in err[0]
    assert "classes of the val split" in err[0]
    assert not Path("second").exists()


def test_weights_of_other_data_are_recorded_and_what_they_have_seen_is_said(
    metarun: Metarun, first: str
) -> None:
    words = ["algo=simpleshot", f"backbone.weights={first}", "backbone.frozen=true"]
    other = [*WORDS[:2], "data=image_folder", "data.root=own", "data.size=28", "data.colour=false"]
    blob = Blobs().load()["train"].items[0, 0]
    for c, name in enumerate(("train/a", "train/b", "val/c", "val/d", "test/e", "test/f")):
        Path("own", name).mkdir(parents=True)
        for k in range(4):  # one item of the test split is one of the earlier training
            pixels = blob if (name, k) == ("test/f", 0) else np.roll(blob, 4 * c + k + 1)
            Image.fromarray(pixels).save(f"own/{name}/{k}.png")
    sizes = ["ways=2", "queries=2", "data.cache=cache", "out=second"]
    code, _, err = metarun(*other, *WORDS[3:], *words, *sizes)
    assert code == 0
    assert result("second")["protocol"]["pretraining"]["seen_in_training"] == {
        "val": {"classes": "unknown", "items": 0},
        "test": {"classes": "unknown", "items": 1},
    }
    of = "split of image_folder were in the training of its weights (first"
    assert [line.partition("conv4: ")[2] for line in err if "training of" in line] == [
        f"whether classes of the val {of}, on blobs) is unknown",
        f"whether classes of the test {of}, on blobs) is unknown",
        f"1 items of the test {of})",
    ]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["backbone.weights=no"], "no: no such file, and no folder of a run"),
        (["backbone.weights=text"], "text: cannot be read as weights"),
        (["backbone.weights=list"], "list: holds no weights by name"),
        (["backbone.weights=first", "backbone.filters=5"], "do not fit the backbone: "),
        (["backbone.frozen=1"], "backbone.frozen=1: should be a valid boolean"),
        (["algo=protonet", "backbone.frozen=true"], "together they have no trainable parameters"),
    ],
)
def test_wrong_requests_are_refused_in_one_line(
    metarun: Metarun, first: str, words: list[str], line: str
) -> None:
    Path("text").write_text("no weights")
    torch.save([1, 2], "list")
    code, _, err = metarun(*WORDS, "algo=simpleshot", *words, "out=second")
    assert (code, len(err)) == (2, 1), err
    assert line in err[0]
    assert not Path("second").exists()


def test_weights_for_a_backbone_without_any_are_refused(metarun: Metarun, first: str) -> None:
    sizes = [word for word in TINY if not word.startswith("backbone")]
    words = ["algo=nearest_centroid", "backbone=identity", f"backbone.weights={first}"]
    code, _, err = metarun(*sizes, *words, "out=second")
    assert (code, len(err)) == (2, 1), err
    assert err[0].endswith("the backbone has no weights; leave it out")
