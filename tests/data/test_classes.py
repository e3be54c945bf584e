"""Classes, splits and their hashes."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metarun.data.classes import Facts, Images, select


def images_of(counts: list[int], seed: int = 0, names: list[str] | None = None) -> Images:
    items = np.random.default_rng(seed).integers(0, 256, (sum(counts), 1, 3, 3), dtype=np.uint8)
    return Images.of(items, names or [f"A/{i:02d}" for i in range(len(counts))], counts)


some_counts = st.lists(st.integers(1, 5), min_size=1, max_size=8)


@given(some_counts)
def test_a_digest_is_the_sha256_of_the_bytes_of_its_class(counts):
    images = images_of(counts)
    start = 0
    for count, digest in zip(images.counts, images.digests, strict=True):
        content = images.items[start : start + count].tobytes()
        assert digest == hashlib.sha256(content).hexdigest()
        start += count


@pytest.mark.parametrize(("names", "counts"), [(["a"], [2]), (["a", "b"], [3]), (["a"], [1, 2])])
def test_counts_that_do_not_add_up_are_an_error(names, counts):
    with pytest.raises(ValueError, match="do not make"):
        Images.of(np.zeros((3, 1, 2, 2), np.uint8), names, counts)


@given(some_counts, st.data())
def test_a_split_refers_to_the_items_of_its_classes(counts, data):
    images = images_of(counts)
    names = data.draw(st.lists(st.sampled_from(images.names), unique=True))
    split = select(images, names)
    assert split.names == tuple(names)
    assert split.items is images.items
    for name, first, count in zip(names, split.first, split.counts, strict=True):
        position = images.names.index(name)
        assert first == sum(counts[:position])
        assert count == counts[position]
    smallest = min((counts[images.names.index(n)] for n in names), default=0)
    assert split.facts == Facts(len(names), smallest)
    assert split.shape == (1, 3, 3)


def test_small_classes_come_smallest_first():
    names = ["A/00", "A/01", "A/02", "A/03"]
    facts = select(images_of([4, 2, 1, 3]), names).facts
    assert facts.smaller(4) == ["A/02: 1", "A/01: 2", "A/03: 3"]
    assert facts.smaller(1) == []
    assert Facts(4, 1).smaller(4) == []


def test_rotated_classes_share_their_items():
    split = select(images_of([2, 3]), ["A/01"], turns=(0, 1, 2, 3))
    assert split.names == tuple(f"A/01/rot{angle}" for angle in ("000", "090", "180", "270"))
    assert split.turns.tolist() == [0, 1, 2, 3]
    assert split.first.tolist() == [2] * 4
    assert split.counts.tolist() == [3] * 4


def test_a_missing_class_is_an_error():
    with pytest.raises(KeyError, match="A/07"):
        select(images_of([1]), ["A/07"])


class TestTurns:
    @pytest.mark.parametrize(("spin", "angles"), [("class", 4), ("task", 1), (None, 1)])
    def test_a_spin_is_of_each_class_or_of_the_whole_task(self, spin, angles):
        images = Images.of(np.zeros((8, 1, 3, 3), np.uint8), tuple("abcdefgh"), (1,) * 8)
        split, rng = select(images, images.names, spin=spin), np.random.default_rng(0)
        turns = [split.pick(rng, 8, 1, 0).turns for _ in range(20)]
        assert max(len(set(t.tolist())) for t in turns) == angles
        assert {int(t[0]) for t in turns} == ({0} if spin is None else {0, 1, 2, 3})
        assert all(len(t) == 8 for t in turns)


class TestTheHashOfASplit:
    images = images_of([2, 3, 4])
    split = select(images, ["A/00", "A/02"])

    def test_does_not_depend_on_order(self):
        assert select(self.images, ["A/02", "A/00"]).sha256 == self.split.sha256

    def test_does_not_depend_on_classes_outside(self):
        items = self.images.items.copy()
        items[2:5] = 0  # class A/01
        other = Images.of(items, self.images.names, self.images.counts)
        assert select(other, ["A/00", "A/02"]).sha256 == self.split.sha256

    @pytest.mark.parametrize(
        ("names", "turns", "spin"),
        [
            (["A/00"], (0,), None),
            (["A/00", "A/01"], (0,), None),
            (["A/00", "A/02"], (0, 1), None),
            (["A/00", "A/02"], (0,), "class"),
            (["A/00", "A/02"], (0,), "task"),
        ],
    )
    def test_changes_with_the_classes_and_their_turns(self, names, turns, spin):
        assert select(self.images, names, turns, spin).sha256 != self.split.sha256

    @given(item=st.sampled_from([0, 1, 5, 8]), pixel=st.integers(0, 8))
    def test_changes_with_any_pixel(self, item, pixel):
        items = self.images.items.copy()
        items.reshape(9, 9)[item, pixel] ^= 1
        other = Images.of(items, self.images.names, self.images.counts)
        assert select(other, ["A/00", "A/02"]).sha256 != self.split.sha256
