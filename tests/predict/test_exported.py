"""`metarun export`: the file gives the scores of `metarun predict`, computed without metarun."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metarun import cli
from metarun.predict import exported
from tests.conftest import blank
from tests.predict.material import pictures

slow = pytest.mark.slow
DATA = ("data=image_folder", "data.size=16", "data.colour=false", "debug=tiny", "threads=1")
SMALL = (*DATA, "backbone.filters=4", "ways=2", "queries=2", "steps=2", "eval_every=2")
ALGOS = ("protonet", "matchingnet", "relationnet", "simpleshot")


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Iterator[Path]:
    """A run of each tested learner, and a support and a query of other classes."""
    wanted = any(item.get_closest_marker("slow") for item in request.session.items)
    home = tmp_path_factory.mktemp("runs")
    root = pictures(home / "photos", dict.fromkeys("abcdef", 4))
    pictures(home / "support", {"ant": 2, "cow": 3, "dog": 4})
    pictures(home / "query", {"ant": 3, "dog": 2}, first=10)
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        for algo in (*ALGOS[: None if wanted else 1], "maml"):
            words = (f"data.root={root}", f"algo={algo}", f"out={home / algo}")
            assert cli.main([*SMALL, *words]) == 0
    shutil.rmtree(root)
    yield home


def items(files: list[Path]) -> np.ndarray:
    """Pictures as the JSON file says: (n, 1, 16, 16), values divided by 255."""
    found = []
    for file in files:
        with Image.open(file) as picture:
            small = picture.convert("L").resize((16, 16), Image.Resampling.BILINEAR)
        found.append(np.asarray(small, np.float32)[None] / 255)
    return np.stack(found)


def task(home: Path) -> tuple[list[np.ndarray], list[str]]:
    """The inputs, and the paths of the query."""
    classes = sorted((home / "support").iterdir())
    files = [sorted(folder.iterdir()) for folder in classes]
    labels = np.repeat(np.eye(len(files), dtype=np.float32), list(map(len, files)), axis=0)
    query = sorted((home / "query").rglob("*.png"))
    support = items([file for some in files for file in some])
    return [support, labels, items(query)], list(map(str, query))


def predicted(home: Path, algo: str, out: Path) -> dict[str, list[float]]:
    """The scores of each item by `metarun predict`."""
    places = (f"support={home / 'support'}", f"query={home / 'query'}", f"out={out}")
    assert cli.main(["predict", f"run={home / algo}", *places]) == 0
    rows = csv.DictReader((out / "predictions.csv").read_text().splitlines())
    return {
        next(iter(row.values())): [float(v) for k, v in row.items() if k.startswith("score:")]
        for row in rows
    }


@pytest.mark.parametrize("algo", [ALGOS[0], *(pytest.param(a, marks=slow) for a in ALGOS[1:])])
def test_onnxruntime_gives_the_scores_of_predict(runs, metarun, tmp_path, algo):
    onnxruntime = pytest.importorskip("onnxruntime")
    code, out, err = metarun("export", f"run={runs / algo}", "out=model.onnx")
    assert (code, err) == (0, [])
    assert "its scores differ from those of metarun by" in out
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    inputs, files = task(runs)
    (scores,) = session.run(None, dict(zip(exported.INPUTS, inputs, strict=True)))
    expected = predicted(runs, algo, tmp_path / "p")
    np.testing.assert_allclose(scores, [expected[file] for file in files], atol=1e-4, rtol=1e-4)
    record = json.loads(Path("model.json").read_text())
    assert (record["algo"], record["format"]) == (algo, "onnx")
    assert record["inputs"]["query"]["shape"] == ["queries", 1, 16, 16]
    assert record["data_settings"]["size"] == 16
    assert record["normalisation"].startswith("uint8 / 255")
    assert record["difference"] < 1e-4


def test_torch_loads_the_other_format(runs, metarun, tmp_path):
    words = (f"run={runs / 'protonet'}", "out=model.pt2", "format=torch_export")
    assert metarun("export", *words)[0] == 0
    inputs, files = task(runs)
    program = torch.export.load("model.pt2").module()
    scores = program(*map(torch.from_numpy, inputs)).detach().numpy()
    expected = predicted(runs, "protonet", tmp_path / "p")
    np.testing.assert_allclose(scores, [expected[file] for file in files], atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ("run=maml", "out=a.onnx"),
            "maml cannot be exported as it was trained, because it is no",
        ),
        (("run=protonet",), "export: out= missing: metarun export run=RUN_DIR out=FILE.onnx"),
        (("run=protonet", "out=a.pt"), "out=a.pt: should end in .onnx"),
        (("run=protonet", "out=a.onnx", "format=onix"), "format=onix: should be onnx or torch_exp"),
        (("run=protonet", "out=none/a.onnx"), "none is not a folder"),
        (("run=protonet", "out=old.onnx"), "old.json: is there already"),
        (("run=protonet", "out=a.onnx", "ways=3"), "ways: export cannot change it"),
        (("run=none", "out=a.onnx"), "run=none: "),
    ],
)
def test_a_wrong_request_is_one_line_and_writes_nothing(runs, metarun, tmp_path, words, line):
    for algo in ("maml", "protonet"):
        (tmp_path / algo).symlink_to(runs / algo)
    (tmp_path / "old.json").touch()
    before = sorted(tmp_path.iterdir())
    code, _, err = metarun("export", *words)
    assert (code, len(err)) == (2, 1)
    assert line in err[0]
    assert sorted(tmp_path.iterdir()) == before


def test_the_package_is_named_where_it_is_missing(runs, metarun, monkeypatch):
    monkeypatch.setattr(exported, "find_spec", lambda name: None)
    code, _, (line,) = metarun("export", f"run={runs / 'protonet'}", "out=model.onnx")
    assert code == 2
    assert "format=onnx: needs pip install 'metarun[export]'" in line
    assert not Path("model.onnx").exists()
