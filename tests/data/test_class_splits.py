"""Splits of classes: reproducible, with at least two classes in each."""

from __future__ import annotations

import json
import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from metarun.data.class_splits import divide, from_file, held_out
from metarun.errors import Refused

USUAL = [0.6, 0.2, 0.2]
NAMES = [f"class {i}" for i in range(100)]


def refusal(call, *args) -> list[str]:
    with pytest.raises(Refused) as refused:
        call(*args)
    return refused.value.mistakes


class TestShares:
    @given(
        st.integers(6, 300),
        st.lists(st.floats(0.01, 1), min_size=3, max_size=3),
        st.integers(0, 1000),
    )
    def test_every_class_is_in_one_split_of_about_the_requested_share(self, n, shares, seed):
        shares = [share / sum(shares) for share in shares]
        known = [f"{i}" for i in range(n)]
        split = divide(known, shares, seed)
        assert sorted(name for names in split.values() for name in names) == sorted(known)
        sizes = [len(split[s]) for s in ("train", "val", "test")]
        assert min(sizes) >= 2
        if min(shares) * n >= 2:
            assert all(abs(size - s * n) < 1 for size, s in zip(sizes, shares, strict=True))

    @pytest.mark.parametrize("n, sizes", [(6, (2, 2, 2)), (7, (3, 2, 2)), (10, (6, 2, 2))])
    def test_few_classes_are_enough_for_two_ways(self, n, sizes):
        split = divide(NAMES[:n], USUAL, 0)
        assert tuple(len(split[s]) for s in ("train", "val", "test")) == sizes

    def test_numbers_of_classes_are_exact(self):
        split = divide(NAMES, [64, 16, 20], 0)
        assert [len(split[s]) for s in ("train", "val", "test")] == [64, 16, 20]
        (line,) = refusal(divide, NAMES, [64, 16, 21], 0)
        assert "data.fractions=[64, 16, 21]: numbers of classes should add up to the 100" in line
        assert refusal(divide, NAMES, [98, 1, 1], 0)

    def test_a_split_without_a_share_is_empty(self):
        assert divide(["a", "b"], [0, 0, 1], 0) == {"train": [], "val": [], "test": ["a", "b"]}
        sizes = {split: len(names) for split, names in divide(NAMES, [0.9, 0, 0.1], 0).items()}
        assert sizes == {"train": 90, "val": 0, "test": 10}
        assert len(divide(NAMES, [0, 40, 60], 0)["val"]) == 40
        (line,) = refusal(divide, ["a"], [0, 0, 1], 0)
        assert line == "data.fractions=[0, 0, 1]: 1 class cannot be divided; test need 2 each"

    def test_invalid_shares_are_refused(self):
        (line,) = refusal(divide, NAMES[:5], USUAL, 0)
        assert "5 classes cannot be divided; train, val and test need 2 each" in line
        (line,) = refusal(divide, NAMES, [0.6, 0.2, 0.3], 0)
        assert "should add up to 1, not 1.1" in line


class TestStability:
    def test_it_depends_on_names_and_seed_only(self):
        shuffled = random.Random(0).sample(NAMES, len(NAMES))
        assert divide(NAMES, USUAL, 3) == divide(shuffled, USUAL, 3)
        assert divide(NAMES, USUAL, 3) != divide(NAMES, USUAL, 4)

    def test_the_split_of_a_seed_does_not_change(self):
        """A change here changes the splits of all users: it needs a reason and a release note."""
        split = divide(["ant", "bee", "cat", "dog", "elk", "fox", "gnu", "hen"], USUAL, 0)
        assert split == {
            "train": ["dog", "elk", "fox", "gnu"],
            "val": ["ant", "bee"],
            "test": ["cat", "hen"],
        }

    def test_an_additional_class_moves_few_others(self):
        before, now = divide(NAMES, USUAL, 0), divide([*NAMES, "one more"], USUAL, 0)
        where = {name: split for split, names in before.items() for name in names}
        moved = [n for split, names in now.items() for n in names if where.get(n, split) != split]
        assert len(moved) <= 2


class TestHoldingOut:
    @given(
        st.sets(st.text(min_size=1, max_size=5), min_size=3, max_size=30),
        st.integers(1, 9),
        st.integers(1, 9),
        st.integers(0, 10**9),
    )
    @settings(deadline=None)
    def test_each_class_is_in_one_split_of_the_requested_size(self, names, val, test, seed):
        assume(val + test < len(names))
        parts = held_out(names, val, test, seed)
        assert (len(parts["val"]), len(parts["test"])) == (val, test)
        assert sorted(name for part in parts.values() for name in part) == sorted(names)

    def test_it_depends_on_the_names_and_the_seed_only(self):
        names = [f"intent {i}" for i in range(40)]
        assert held_out(names, 5, 10, 3) == held_out(reversed(names), 5, 10, 3)
        assert len({str(held_out(names, 5, 10, seed)) for seed in range(20)}) == 20

    def test_the_held_out_classes_of_a_seed_do_not_change(self):
        """Another split for the same seed would test old runs on their training classes."""
        dealt = {"train": ["a", "c", "d"], "val": ["b", "f"], "test": ["e", "g", "h"]}
        assert held_out("abcdefgh", 2, 3, 0) == dealt

    def test_every_class_is_held_out_under_some_seed(self):
        names = [f"intent {i}" for i in range(10)]
        assert {n for seed in range(60) for n in held_out(names, 2, 2, seed)["test"]} == set(names)


class TestFile:
    def write(self, tmp_path, content) -> object:
        text = content if isinstance(content, str) else json.dumps(content)
        (tmp_path / "split.json").write_text(text)
        return tmp_path / "split.json"

    def test_a_valid_file_is_used_unchanged(self, tmp_path):
        split = {"train": ["b", "a"], "val": ["c"], "test": ["d"]}
        assert from_file(self.write(tmp_path, split | {"about": "mine"}), "abcde") == split

    def test_names_are_compared_after_unicode_normalisation(self, tmp_path):
        file = self.write(tmp_path, {"train": ["cafe\u0301"], "val": ["b"], "test": ["c"]})
        assert from_file(file, ["caf\u00e9", "b", "c"])["train"] == ["caf\u00e9"]

    def test_all_mistakes_are_reported(self, tmp_path):
        file = self.write(tmp_path, {"train": ["a", "b", "x"], "val": ["a"], "test": []})
        assert refusal(from_file, file, "abc") == [
            f"data.split_file={file}: 1 class not in data.root: x",
            f"data.split_file={file}: 1 class listed more than once: a",
            f"data.split_file={file}: no classes in test",
        ]

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", '{"train": ["a"]}', '{"train": "a", "val": "b", "test": "c"}', "[" * 99999],
    )
    def test_other_content_is_refused(self, tmp_path, content):
        (line,) = refusal(from_file, self.write(tmp_path, content), "abc")
        assert "is not JSON" in line or "should hold" in line
        assert "\n" not in line

    def test_a_missing_file_or_a_folder_is_refused(self, tmp_path):
        assert "No such file" in refusal(from_file, tmp_path / "gone", "abc")[0]
        assert "cannot be read" in refusal(from_file, tmp_path, "abc")[0]
