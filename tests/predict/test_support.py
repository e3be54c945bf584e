"""The support: different items only, each in one class."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from metarun.data.preparation.pixels import Broken
from metarun.errors import Refused
from metarun.predict.support import Support, read_support


def read(sources: Sequence[str]) -> list[np.ndarray | Broken]:
    """Each source is the number that its item consists of; `!` cannot be read."""
    return [Broken("cut off") if s == "!" else np.full((1, 2), float(s)) for s in sources]


def support(**classes: str) -> Support:
    return read_support({n: v.split() for n, v in classes.items()}, read, "support=s")


def test_items_are_grouped_by_class() -> None:
    found = support(cat="3 1", dog="2", owl="5 4 6")
    assert (found.names, found.counts) == (("cat", "dog", "owl"), [2, 1, 3])
    assert found.items[:, 0, 0].tolist() == [3, 1, 2, 5, 4, 6]
    assert found.labels.tolist() == [0, 0, 1, 2, 2, 2]
    assert found.sources == ("3", "1", "2", "5", "4", "6")


def test_the_hash_is_that_of_classes_and_items_in_any_order() -> None:
    same = support(cat="3 1", dog="2").sha256
    assert support(dog="2", cat="1 3").sha256 == same
    assert support(cat="3", dog="2 1").sha256 != same
    assert support(cat="3 1", cow="2").sha256 != same


def test_equal_items_of_a_class_are_used_once(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = support(cat="3 1 3.0", dog="2")
    assert (found.counts, found.sources) == ([2, 1], ("3", "1", "2"))
    assert caplog.messages == ["support=s: equal items of a class are used once: 3 and 3.0"]


@pytest.mark.parametrize(
    ("classes", "lines"),
    [
        ({"cat": "1"}, ["support=s: has one class (cat); a support needs 2 at least"]),
        ({"cat": "1 !", "dog": "2"}, ["!: cannot be read (cut off)"]),
        (
            {"cat": "1 4", "dog": "2 4.0"},
            ["support=s: 4 and 4.0 are the same item, in cat and dog"],
        ),
        (
            {"cat": "! " * 12, "dog": "2"},
            ["!: cannot be read (cut off)"] * 10 + ["support=s: 2 more like these"],
        ),
    ],
)
def test_a_wrong_support_is_refused(classes: dict[str, str], lines: list[str]) -> None:
    with pytest.raises(Refused) as refused:
        support(**classes)
    assert refused.value.mistakes == lines
