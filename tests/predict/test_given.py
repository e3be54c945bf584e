"""Items that a caller in Python gives have the labels of the same items in files."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import metarun as mr
from metarun import cli
from metarun.data.preparation.pictures import depths, read_pictures
from metarun.predict.given import Given, as_picture, on_files
from tests.commands.test_predict import SMALL
from tests.conftest import blank
from tests.predict.material import pictures

SUPPORT = {"ant": 2, "cow": 3, "dog": 4}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[mr.Run]:
    """A run on grey pictures of 16×16 pixels; the working directory has `support` and `query`."""
    home = tmp_path_factory.mktemp("given")
    with pytest.MonkeyPatch.context() as patch:
        blank(patch)
        patch.chdir(home)
        pictures(Path("photos"), dict.fromkeys("abcdef", 4))
        pictures(Path("support"), SUPPORT)
        pictures(Path("query"), {"ant": 3, "dog": 2}, first=10)
        yield mr.fit(*SMALL, {"data.root": "photos"}, algo="protonet", out="run", logger="none")


@pytest.fixture(scope="module")
def expected(run: mr.Run) -> Any:
    return run.predict("support", "query")


def files(folder: str) -> dict[str, list[Path]]:
    return {f.name: sorted(f.iterdir()) for f in sorted(Path(folder).iterdir()) if f.is_dir()}


def arrays(paths: list[Path]) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in paths]


FORMS: dict[str, Callable[[list[Path]], Any]] = {
    "paths": list,
    "arrays": arrays,
    "array": lambda paths: np.stack(arrays(paths)),
    "with channels": lambda paths: [np.stack([a] * 3, axis=2) for a in arrays(paths)],
    "tensor": lambda paths: torch.from_numpy(np.stack(arrays(paths))[:, None]),
    "floats": lambda paths: [torch.from_numpy(a / 255) for a in arrays(paths)],
    "pictures": lambda paths: [Image.open(path) for path in paths],
}


@pytest.mark.parametrize("form", FORMS)
def test_scores_are_those_of_the_files(run: mr.Run, expected: Any, form: str) -> None:
    convert = FORMS[form]
    support = {name: convert(paths) for name, paths in files("support").items()}
    query = convert([path for paths in files("query").values() for path in paths])
    found = run.predict(support, query)
    np.testing.assert_array_equal(found.scores, expected.scores)
    np.testing.assert_array_equal(found.probabilities, expected.probabilities)
    assert found.labels.tolist() == expected.labels.tolist()
    assert (found.classes, found.left_out) == (["ant", "cow", "dog"], expected.left_out)


def test_what_is_returned_is_what_the_command_writes(run: mr.Run, expected: Any) -> None:
    assert expected.folder is None and not (run.folder / "predictions").exists()
    words = ["run=run", "support=support", "query=query", "out=written"]
    assert cli.main(["predict", *words]) == 0
    text = Path("written/predictions.csv").read_text("utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["label"] for row in rows] == expected.labels.tolist()
    scores = [[float(row[f"score:{name}"]) for name in expected.classes] for row in rows]
    np.testing.assert_allclose(expected.scores, scores, rtol=1e-6)
    most = [float(row["probability"]) for row in rows]
    np.testing.assert_allclose(expected.probabilities.max(1), most, atol=1e-6)
    found = run.predict("support", "query", out="written too")
    assert found.folder is not None
    assert (found.folder / "predictions.csv").read_text("utf-8") == text
    assert repr(found) == "Prediction(5 items, 3 classes)"


def test_labels_are_those_of_the_caller(run: mr.Run, expected: Any, capsys: Any) -> None:
    paths = [path for of_class in files("support").values() for path in of_class]
    y = np.repeat([7, 8, 9], list(SUPPORT.values()))
    order = np.random.default_rng(0).permutation(len(paths))
    query = [np.zeros((4, 4), np.uint8), *sorted(Path("query").rglob("*.png")), "none.png"]
    found = run.predict(([paths[i] for i in order], y[order]), query, out="by number")
    likeliest = expected.scores.argmax(1) + 7
    assert found.classes == [7, 8, 9]
    assert found.labels.tolist()[1:] == [*likeliest, "unreadable"]
    np.testing.assert_allclose(found.scores[1:-1], expected.scores, rtol=1e-5)
    assert np.isnan(found.scores[-1]).all()
    assert "unreadable: none.png (cannot be read (" in capsys.readouterr().out
    assert "query[0]" in Path("by number/predictions.csv").read_text()


def test_pictures_are_stored_without_loss_and_deleted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = as_picture(rng.integers(0, 4096, (6, 6)).astype(np.uint16), "wide")
    colour = as_picture(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), "colour")
    turned = colour.copy()
    turned.getexif()[0x0112] = 6
    names = ["wide", "colour", "turned", "separated", "float"]
    images = [wide, colour, turned, colour.convert("CMYK"), Image.new("F", (6, 6), 0.5)]
    memory = dict(zip(names, images, strict=True))
    seen: list[str] = []

    def read(paths: Any) -> Any:
        seen.extend(paths)
        return depths(paths), read_pictures(paths, 6, True)

    (of_wide, of_colour, *_, of_float), pixels = on_files(read, memory)(names)
    assert (of_wide.wide, of_wide.bits, of_colour.wide, of_float.low) == (True, 12, False, 0.5)
    np.testing.assert_array_equal(pixels[1], np.asarray(colour).transpose(2, 0, 1))
    np.testing.assert_array_equal(pixels[2], np.rot90(pixels[1], -1, (1, 2)))
    back = np.asarray(colour.convert("CMYK").convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels[3], back)
    assert len(seen) == 5 and not any(Path(path).exists() for path in seen)


def test_sentences_are_their_own_names() -> None:
    given = Given("sentences")
    support = {"a": ["one  two", "three"], "b": ["four"]}
    assert given.classes(support) == {"a": ["one two", "three"], "b": ["four"]}
    assert given.query(["five", " "]) == ["five", ""]
    with pytest.raises(mr.Refused, match=r"^query\[0\]: is a int; should be a sentence"):
        given.query([5])


GREY = np.zeros((4, 4), np.uint8)
TWO = {"a": [GREY], "b": [GREY + 1]}


@pytest.mark.parametrize(
    ("support", "query", "line"),
    [
        ([GREY], [GREY], "support: is a list; should be a folder or a file, a mapping"),
        ({"a": [], "b": [GREY]}, [GREY], "support: the class a has no items"),
        ({"a": "photos", "b": [GREY]}, [GREY], "support['a']: is a str; should be a sequence"),
        (([GREY], [1, 2]), [GREY], "support: has 1 items and 2 labels"),
        ({1: [GREY], "1": [GREY]}, [GREY], "support: two classes have the same name"),
        ({"a": [GREY]}, [GREY], "support: has one class (a); a support needs 2 at least"),
        ({"a": [GREY], "b": [GREY]}, [GREY], "support: support['a'][0] and support['b'][0] are"),
        ({"a": [GREY], "unreadable": [GREY]}, [GREY], "support: a class is called unreadable"),
        ({"a": ["none.png"], "b": [GREY]}, [GREY], "none.png: cannot be read ("),
        (TWO, GREY, "query[0]: has the shape (4,); should be a path, a picture"),
        (TWO, Image.fromarray(GREY), "query: is a Image; should be a sequence of items"),
        (TWO, [], "query: has no items"),
        (TWO, [GREY[..., None, None]], "query[0]: has the shape (4, 4, 1, 1); should be a path"),
        (TWO, [GREY.astype(int)], "query[0]: has values of type int64; should be uint8"),
        (TWO, [GREY + 2.0], "query[0]: floating-point values should be from 0 (black) to 1"),
        (TWO, ["none.png"], "query: no item can be read"),
        (TWO, "none", "query=none: no such file or folder"),
    ],
)
def test_a_mistake_is_one_line(run: mr.Run, support: Any, query: Any, line: str) -> None:
    with pytest.raises(mr.Refused) as refused:
        run.predict(support, query)
    assert str(refused.value).startswith(line)


def test_options_are_those_of_the_command_line(run: mr.Run, expected: Any) -> None:
    with pytest.raises(mr.Refused) as refused:
        run.predict("support", "query", unknown_below=60, shots=5)
    keys = [line.partition(":")[0] for line in refused.value.mistakes]
    assert keys == ["unknown_below=60", "shots"]
    confidence = expected.probabilities.max(1)
    limit = (confidence.min() + confidence.max()) / 2
    found = run.predict("support", "query", unknown_below=limit)
    assert ((found.labels == "unknown") == (confidence < limit)).all()
