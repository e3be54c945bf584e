"""A run is tested on another data set, prepared as it was trained on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metarun import cli
from metarun.report.runs import read_run
from tests.conftest import OWN, TINY
from tests.own.blobs import Blobs

Metarun = Callable[..., tuple[int, str, list[str]]]
TREE = ["--config-dir", str(OWN)]
PICTURES = ["data=image_folder", "data.root=pictures", "data.cache=cache", "name=new"]


@pytest.fixture(scope="module")
def of_maml(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of maml on blobs (1×28×28)."""
    folder = tmp_path_factory.mktemp("trained") / "maml"
    assert cli.main([*TINY, "algo=maml", f"out={folder}"]) == 0
    return folder


def write_pictures(items: np.ndarray, split: str, name: str) -> None:
    folder = Path("pictures", split, name)
    folder.mkdir(parents=True)
    for k, item in enumerate(items):
        Image.fromarray(item).save(folder / f"{k:02d}.png")


def make_pictures(side: int = 16, classes: int = 6) -> None:
    rng = np.random.default_rng(1)
    for split in ("train", "val", "test"):
        for c in range(classes):
            pixels = rng.integers(0, 256, (6, side, side, 3)).astype(np.uint8)
            write_pictures(pixels, split, f"{split}{c}")


def protocol(name: str = "new") -> dict[str, Any]:
    return json.loads(Path("run/evaluations", name, "result.json").read_text())["protocol"]


def test_pictures_are_prepared_to_the_size_and_channels_of_the_run(run: Metarun) -> None:
    make_pictures()
    code, out, err = run("evaluate", "run=run", *PICTURES, *TREE)
    assert (code, err[1:]) == (0, [])  # the first line: preparing …
    assert "blobs → pictures" in out
    new = protocol()
    settings = new["data_settings"]
    assert (new["data"], new["data_name"]) == ("image_folder", "pictures")
    assert (settings["size"], settings["colour"]) == (28, False)
    assert "scaled" not in new
    assert new["train_data"] == "blobs"
    own = json.loads(Path("run/result.json").read_text())["protocol"]
    assert new["train_split_sha256"] == own["train_split_sha256"]
    assert new["split_sha256"] != own["split_sha256"]
    assert new["seen_in_training"] == {"classes": "unknown", "items": 0}


def test_what_the_user_types_or_the_data_cannot_prepare_is_scaled(run: Metarun) -> None:
    make_pictures()
    words = [*PICTURES, "data.size=16", "data.colour=true"]
    assert run("evaluate", "run=run", *words, *TREE)[0] == 0
    assert protocol()["scaled"] == {"from": [3, 16, 16], "to": [1, 28, 28]}
    assert protocol()["seen_in_training"] == {"classes": "unknown", "items": "unknown"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["data=sinusoid"], "data=sinusoid: its items are vectors of length 1, and the run was"),
        (["data=glyphs", "ways=7"], "ways=7 train_ways=5: maml has a head for each label"),
        (["data=image_folder"], "data.root: name the folder of your pictures"),
    ],
)
def test_what_cannot_be_tested_is_refused_in_one_line(
    metarun: Metarun, of_maml: Path, words: list[str], line: str
) -> None:
    shutil.copytree(of_maml, "run")
    code, _, err = metarun("evaluate", "run=run", *words, *TREE)
    assert (code, len(err)) == (2, 1), err
    assert line in err[0]
    assert not Path("run/evaluations").exists()


def test_sentences_and_pictures_do_not_mix(metarun: Metarun) -> None:
    make_pictures()
    sizes = [w for w in TINY if w not in ("data=blobs", *TREE)]
    assert metarun(*sizes, *PICTURES[:3], "data.size=16", "ways=2", "out=run")[0] == 0
    code, _, err = metarun("evaluate", "run=run", "data=banking77")
    assert (code, len(err)) == (2, 1), err
    assert "banking77: its items are sentences; the run was trained on pictures" in err[0]


def test_classes_and_items_of_the_training_are_named(run: Metarun) -> None:
    make_pictures()
    seen = Blobs().load()["train"]
    items = seen.items[seen.first[0] : seen.first[0] + seen.counts[0], 0]
    write_pictures(items, "test", "copied")
    write_pictures(items[:2].repeat(3, axis=0), "test", "mixed")
    code, _, err = run("evaluate", "run=run", *PICTURES, *TREE)
    assert code == 0
    assert protocol()["seen_in_training"] == {"classes": 1, "items": 20}
    lines = [line for line in err if "were in the training of the run" in line]
    assert len(lines) == 2
    assert "pictures test: 1 classes were in the training of the run (copied = blob000)" in lines[0]


def test_a_class_of_the_same_data_set_is_known_by_its_name(run: Metarun) -> None:
    assert run("evaluate", "run=run", "data.classes=60", "split=train", "name=new", *TREE)[0] == 0
    assert protocol()["seen_in_training"]["classes"] == 12


def test_the_data_of_the_run_need_not_be_there(metarun: Metarun) -> None:
    make_pictures()
    sizes = [w for w in TINY if w not in ("data=blobs", *TREE)]
    assert metarun(*sizes, *PICTURES[:3], "data.size=28", "ways=2", "out=run")[0] == 0
    Path("pictures").rename("elsewhere")
    words = ["data=blobs", "ways=2", "name=new", *TREE]
    assert metarun("evaluate", "run=run", *words)[0] == 0
    assert protocol()["scaled"] == {"from": [1, 28, 28], "to": [3, 28, 28]}
    assert protocol()["seen_in_training"] == {"classes": "unknown", "items": "unknown"}


def test_tests_on_other_data_are_compared_with_each_other_only(run: Metarun, of_maml: Path) -> None:
    shutil.copytree(of_maml, "other")
    make_pictures()
    for name in ("run", "other"):
        words = [f"run={name}", "algo.batch_norm=inductive", *PICTURES]
        assert run("evaluate", *words, *TREE)[0] == 0
    paths = [f"{name}/evaluations/new" for name in ("run", "other")]
    tested, own = (read_run(Path(path), path) for path in (paths[0], "run"))
    assert (tested.data, own.data) == ("blobs → pictures", "blobs")
    assert tested.tested_on.data == "image_folder of runs trained on other data"
    assert run("compare", *paths)[0] == 0
    code, _, err = run("compare", paths[0], "run")
    assert code == 2
    assert any(line.startswith("metarun: compare: split_sha256: ") for line in err)


def test_the_run_still_resumes(run: Metarun) -> None:
    make_pictures()
    run("evaluate", "run=run", *PICTURES, *TREE)
    assert run("resume=run", "steps=6", *TREE)[0] == 0
    assert run("evaluate", "run=run", "name=again", *TREE)[0] == 0
    assert "seen_in_training" not in protocol("again")
