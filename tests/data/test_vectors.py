"""Your own features: trained, tested, shown and labelled; and what is refused."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import NearestCentroid

from metarun.data.classes import Facts
from metarun.data.vectors import Vectors
from metarun.errors import Refused

TINY = ("debug=tiny", "threads=1", "ways=2", "shots=2", "queries=2", "backbone.hidden=[8]")


def features(classes: int, each: int, width: int = 5, seed: int = 0):
    """Gaussian features with a mean of each class, in random order."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(classes), each))
    return rng.normal(0, 1, (classes, width))[y] * 3 + rng.normal(0, 1, (len(y), width)), y


@pytest.fixture
def file(tmp_path) -> Path:
    x, y = features(8, 6)
    np.savez(tmp_path / "mine.npz", x=x, y=np.array(list("abcdefgh"))[y])
    return tmp_path / "mine.npz"


def data(file: Path, **keys: object) -> Vectors:
    return Vectors(file=str(file), cache=str(file.parent / "cache"), **keys)


def refusal(file: Path, **keys: object) -> str:
    with pytest.raises(Refused) as refused:
        data(file, **keys).facts(), data(file, **keys).load()
    (line,) = refused.value.mistakes
    return line


@settings(max_examples=15, deadline=None)
@given(st.integers(2, 4), st.integers(2, 4), st.sampled_from(["int8", "uint16", "int64", "U3"]))
def test_a_class_is_all_rows_of_its_label(tmp_path_factory, classes, each, dtype):
    x, y = features(classes, each, seed=classes)
    file = tmp_path_factory.mktemp("vectors") / "some.npz"
    np.savez_compressed(file, a=x, b=y.astype(dtype))
    split = data(file, features="a", labels="b", fractions=[0, 0, 1]).load()["test"]
    assert split.names == tuple(map(str, range(classes)))
    for name, first in zip(split.names, split.first, strict=True):
        rows = x[y == int(name)].astype(np.float32)
        np.testing.assert_array_equal(split.items[first : first + each], rows)


def test_a_run_from_the_file_to_the_labels(metarun, file, tmp_path):
    typed = ("data=vectors", f"data.file={file}")
    assert data(file).facts() == {"train": Facts(4, 6), "val": Facts(2, 6), "test": Facts(2, 6)}
    assert metarun(*typed, *TINY, "out=run")[0] == 0
    code, out, _ = metarun("show", *typed, *TINY)
    assert (code, "vectors of 5 numbers" in out) == (0, True)
    x, y = features(3, 9, seed=1)
    np.savez("support.npz", x=x[:20], y=y[:20]), np.savez("query.npz", x=x[20:], y=y[20:])
    words = ("support=support.npz", "query=query.npz")
    assert metarun("predict", "run=run", *words, "out=trained")[0] == 0
    raw = ("algo=nearest_centroid", "backbone=identity", "truth=query.npz", "out=raw")
    assert metarun("predict", *raw, *words)[0] == 0
    rows = list(csv.DictReader((tmp_path / "raw" / "predictions.csv").read_text().splitlines()))
    reference = NearestCentroid().fit(x[:20].astype(np.float32), y[:20])
    expected = reference.predict(x[20:].astype(np.float32))
    assert [row["label"] for row in rows] == [str(label) for label in expected]
    assert [row["truth"] for row in rows] == [str(label) for label in y[20:]]


def test_features_of_another_width_are_one_line(metarun, file):
    assert metarun("data=vectors", f"data.file={file}", *TINY, "out=run")[0] == 0
    x, y = features(3, 4, width=7)
    np.savez("wide.npz", x=x, y=y), np.savez("narrow.npz", x=x[:, :5], y=y)
    words = ("support=wide.npz", "query=wide.npz", "out=p")
    code, _, err = metarun("predict", "run=run", *words)
    assert (code, len(err)) == (2, 1)
    assert err[0].endswith("its items have 7 features, and the run was trained on 5")
    code, _, err = metarun("predict", "run=run", "support=narrow.npz", "query=wide.npz", "out=p")
    assert code == 2
    assert "no item can be read" in err[0]
    assert "7 features; the support has 5" in err[1]
    other = ("data.file=wide.npz", "data.fractions=[0,0,1]", "ways=2", "shots=1", "queries=2")
    code, _, (line,) = metarun("evaluate", "run=run", "data=vectors", *other, "episodes=2")
    assert code == 2
    assert "its items are vectors of length 7, and the run was trained on vectors of length" in line
    assert not Path("p").exists()


@pytest.mark.parametrize(
    ("arrays", "line"),
    [
        ({"x": np.zeros((4, 2))}, "lacks y (it has x)"),
        ({"x": np.zeros(4), "y": np.zeros(4, int)}, "x is float64 (4,); should be numbers (items,"),
        (
            {"x": np.zeros((4, 2)), "y": np.zeros(3, int)},
            "y is int64 (3,); should be whole",
        ),
        ({"x": np.zeros((4, 2)), "y": np.zeros(4)}, "y is float64 (4,); should be whole"),
        ({"x": np.full((4, 2), np.nan), "y": np.arange(4) // 2}, "row 0 of x has values that are"),
        ({"x": np.zeros((4, 2)), "y": np.array([{}] * 4)}, "y holds Python objects; only numbers"),
    ],
)
def test_a_wrong_file_is_one_line(tmp_path, arrays, line):
    np.savez(tmp_path / "a.npz", **arrays)
    assert line in refusal(tmp_path / "a.npz", fractions=[0, 0, 1])


def test_no_file_or_another_one_is_one_line(tmp_path):
    assert "cannot be read" in refusal(tmp_path / "none.npz")
    (tmp_path / "a.npz").write_bytes(b"")
    assert refusal(tmp_path / "a.npz").startswith(str(tmp_path / "a.npz"))
    with pytest.raises(Refused, match=r"data\.file=FILE\.npz"):
        Vectors(file=None, cache=str(tmp_path))
