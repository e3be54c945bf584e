"""Labels of a query, their truth and accuracy, and how they are written."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import softmax
from sklearn.metrics import balanced_accuracy_score

from metarun.algorithms.protonet import ProtoNet
from metarun.algorithms.relationnet import RelationNet
from metarun.data.preparation.pixels import Broken
from metarun.errors import Refused
from metarun.predict.page import least_probable
from metarun.predict.query import Labelled, label
from metarun.predict.support import read_support
from metarun.predict.truth import accuracy_of, by_content, by_folder, judged
from metarun.predict.written import counted_labels, csv_rows, lines
from metarun.runs.results import csv_text

SUPPORT = {"low": ["0", "1"], "mid": ["10"], "top": ["20"]}
MEANS = np.array([0.5, 10, 20])


def read(sources: Sequence[str]) -> list[np.ndarray | Broken]:
    return [Broken("cut off") if s == "!" else np.full((1,), float(s)) for s in sources]


def scores(items: np.ndarray) -> np.ndarray:
    return -np.abs(items - MEANS)


def labelled(query: str, **keys: object) -> Labelled:
    support = read_support(SUPPORT, read, "support=s")
    return label(query.split(), {"?": "empty"}, read, scores, support, **keys)


def test_items_have_the_likeliest_label() -> None:
    found = labelled("9 ! 30 ? 4 1", temperature=2.0)
    assert found.labels == ["mid", "unreadable", "top", "unreadable", "low", "low"]
    assert found.notes == ["", "cut off", "", "empty", "", "in the support: 1"]
    some = [0, 2, 4, 5]
    expected = scores(np.array([[9.0], [30], [4], [1]]))
    np.testing.assert_array_equal(found.scores[some], expected)
    np.testing.assert_allclose(found.probabilities[some], softmax(expected / 2, axis=1))
    assert np.isnan(found.scores[[1, 3]]).all() and np.isnan(found.confidence[[1, 3]]).all()


def test_doubtful_items_are_unknown() -> None:
    found = labelled("9 5.3 30", unknown_below=0.6)
    assert found.labels == ["mid", "unknown", "top"]
    assert found.likeliest == ["mid", "mid", "top"]
    assert counted_labels(found) == {"low": 0, "mid": 1, "top": 1, "unknown": 1}


def test_items_are_read_and_scored_in_chunks() -> None:
    sizes, done = [], []

    def of_chunk(items: np.ndarray) -> np.ndarray:
        sizes.append(len(items))
        return scores(items)

    support = read_support(SUPPORT, read, "support=s")
    query = [str(n / 10) for n in range(150)]
    found = label(query, {}, read, of_chunk, support, proceed=done.append)
    assert (sizes, done) == ([64, 64, 22], [64, 128, 150])
    assert found.labels == labelled(" ".join(query)).labels


@settings(max_examples=25)
@given(st.permutations(["1", "9", "!", "30", "4.2", "5.3", "12"]))
def test_the_order_of_a_query_changes_nothing(query: list[str]) -> None:
    found, usual = labelled(" ".join(query)), labelled("1 9 ! 30 4.2 5.3 12")
    for i, source in enumerate(query):
        k = usual.sources.index(source)
        assert (found.labels[i], found.notes[i]) == (usual.labels[k], usual.notes[k])
        np.testing.assert_array_equal(found.scores[i], usual.scores[k])


def test_the_rows_of_the_table_are_those_of_the_query() -> None:
    found = labelled("9 !")
    found.truth = ["top", None]
    rows = list(csv.DictReader(csv_text(csv_rows(found)).splitlines()))
    keys = ["item", "label", "probability", "truth", "note", "score:low", "score:mid", "score:top"]
    assert list(rows[0]) == keys
    assert [rows[0][k] for k in ("item", "label", "truth", "note")] == ["9", "mid", "top", ""]
    assert float(rows[0]["probability"]) == pytest.approx(found.confidence[0], abs=1e-6)
    assert float(rows[0]["score:low"]) == -8.5
    assert list(rows[1].values()) == ["!", "unreadable", "", "", "cut off", "", "", ""]


def test_truth_is_the_innermost_folder_that_has_the_name_of_a_class() -> None:
    paths = ["q/a/1.png", "q/other/2.png", "q/b/a/3.png", "q/a.png", "elsewhere/a/4.png"]
    assert by_folder(paths, Path("q"), ["a", "b"]) == ["a", None, "a", None, None]


def test_truth_is_found_by_content() -> None:
    found = labelled("9 30 ! 7 8")
    truth = {"mid": ["9.0", "!", "8"], "bird": ["30", "8"]}
    assert by_content(truth, read, found.digests, "truth=t") == ["mid", "bird", None, None, None]
    with pytest.raises(Refused, match="truth=t: holds no item of the query"):
        by_content({"mid": ["99"]}, read, found.digests, "truth=t")


def test_accuracy_counts_items_whose_class_is_in_the_support() -> None:
    found = labelled("9 5.3 30 1 ! 2", unknown_below=0.6)
    found.truth = ["mid", "low", "bird", "low", "low", None]
    figures = judged(found)
    assert (figures["items"], figures["other_classes"]) == (3, 1)
    assert figures["accuracy"] == pytest.approx(2 / 3)
    judged_items = [0, 1, 3]
    guesses = [found.likeliest[i] for i in judged_items]
    balanced = balanced_accuracy_score([found.truth[i] for i in judged_items], guesses)
    assert figures["balanced"] == pytest.approx(balanced)
    assert (figures["of_named"]["accuracy"], figures["of_named"]["items"]) == (1.0, 2)
    found.truth = ["bird"] * 6
    assert judged(found) is None


@settings(max_examples=25)
@given(st.integers(1, 500), st.data())
def test_the_interval_is_that_of_wilson(items: int, data: st.DataObject) -> None:
    right = data.draw(st.integers(0, items))
    found = accuracy_of([True] * right + [False] * (items - right))
    p, z = right / items, 1.959963984540054
    middle, scale = (p + z * z / (2 * items)), 1 + z * z / items
    half = z * math.sqrt(p * (1 - p) / items + (z / (2 * items)) ** 2)
    assert found["accuracy"] == p
    assert found["low"] == pytest.approx((middle - half) / scale, abs=1e-9)
    assert found["high"] == pytest.approx((middle + half) / scale, abs=1e-9)


@settings(max_examples=25)
@given(
    st.lists(
        st.sampled_from(["1", "9", "30", "!", "5.3", "2", "3", "18"]), min_size=1, max_size=20
    ),
    st.integers(1, 12),
)
def test_the_page_shows_the_least_probable_items_of_each_label(query: list[str], most) -> None:
    found = labelled(" ".join(query), unknown_below=0.6)
    chosen = least_probable(found, most)
    assert sum(map(len, chosen.values())) == min(most, len(query))
    counts = {name: count for name, count in counted_labels(found).items() if count}
    assert chosen.keys() == counts.keys()
    shares = [len(numbers) for name, numbers in chosen.items() if len(numbers) < counts[name]]
    assert not shares or max(map(len, chosen.values())) - min(shares) <= 1
    for name, numbers in chosen.items():
        assert {found.labels[i] for i in numbers} <= {name}
        shown = np.nan_to_num(found.confidence[numbers], nan=0.0)
        rest = [i for i in range(len(query)) if found.labels[i] == name and i not in numbers]
        assert (np.diff(shown) >= 0).all()
        if len(shown) and rest:
            assert shown.max() <= np.nan_to_num(found.confidence[rest], nan=0.0).min()


@pytest.mark.parametrize(
    ("shots", "expected", "number"),
    [((2, 2), 2, ""), ((2, 5), None, ""), ((3, 3), 5, "3"), ((2, 5), 5, "2 to 5")],
)
def test_another_number_of_shots_than_expected_is_said(shots, expected, number: str) -> None:
    record = {
        "support_items": dict(zip(("low", "mid"), shots, strict=True)),
        "expected_shots": expected,
        "algo": "relationnet",
        "calibration": None,
        "accuracy": None,
        "batch_norm": "inductive",
        "trained_batch_norm": "inductive",
    }
    found = [line for line in lines(labelled("9"), record) if "relationnet" in line]
    line = f"the support has {number} items of a class; relationnet expects {expected}, as in its"
    assert [text[: len(line)] for text in found] == ([line] if number else [])
    assert RelationNet.fixed_shots and not ProtoNet.fixed_shots
