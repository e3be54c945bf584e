"""Sentences: feature vectors and refused text files."""

from __future__ import annotations

import math
import os
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.utils import murmurhash3_32

from metarun.data.ngrams import vectors
from metarun.data.preparation import text_files as module
from metarun.data.preparation.text_files import text
from metarun.data.sentences import content_hash
from metarun.errors import Refused

KINDS = [(0, [3, 4]), (2, None), (1, [2, 5])]
some_sentences = st.lists(st.text(max_size=40), min_size=1, max_size=6)


def by_hand(counted: Counter[str], features: int) -> np.ndarray:
    """Counts n-grams at the index of their MurmurHash3, then scales to norm 1."""
    row = np.zeros(features)
    for ngram, count in counted.items():
        row[abs(murmurhash3_32(ngram)) % features] += count
    return row / np.linalg.norm(row)


def word_ngrams(words: list[str], longest: int) -> Counter[str]:
    lengths = range(1, longest + 1)
    return Counter(" ".join(words[i : i + n]) for n in lengths for i in range(len(words) - n + 1))


def letter_ngrams(words: list[str], shortest: int, longest: int) -> Counter[str]:
    """N-grams within words padded with blanks; a shorter word counts as a whole."""
    counted: Counter[str] = Counter()
    for word in (f" {w} " for w in words):
        for n in range(shortest, longest + 1):
            counted.update(word[i : i + n] for i in range(max(len(word) - n, 0) + 1))
            if n >= len(word):
                break
    return counted


class TestVectors:
    def test_words_are_counted_at_their_hash_value(self):
        (row,) = vectors(["Is a card, is A card"], 64, 2, None)
        counted = word_ngrams(["is", "a", "card", "is", "a", "card"], 2)
        assert counted["is a"] == 2 and counted["a"] == 2
        np.testing.assert_allclose(row, by_hand(counted, 64), atol=1e-3)

    def test_letters_are_counted_within_words(self):
        (row,) = vectors(["my card I"], 64, 0, [3, 4])
        counted = letter_ngrams(["my", "card", "i"], 3, 4)
        assert counted[" my "] == 1 and counted["ard"] == 1 and "yca" not in counted
        np.testing.assert_allclose(row, by_hand(counted, 64), atol=1e-3)

    def test_words_and_letters_have_equal_weight(self):
        (row,) = vectors(["lost card"], 4096, 1, [3, 3])
        words = by_hand(word_ngrams(["lost", "card"], 1), 4096)
        letters = by_hand(letter_ngrams(["lost", "card"], 3, 3), 4096)
        both = words + letters
        np.testing.assert_allclose(row, both / np.linalg.norm(both), atol=1e-3)

    @given(some_sentences, st.sampled_from(KINDS))
    @settings(max_examples=50, deadline=None)
    def test_rows_are_not_negative_and_of_length_one_or_zero(self, some, kind):
        rows = vectors(some, 128, *kind)
        assert rows.shape == (len(some), 128) and rows.dtype == np.float16
        assert (rows >= 0).all()
        lengths = np.linalg.norm(rows.astype(np.float64), axis=1)
        assert all(length == 0 or math.isclose(length, 1, abs_tol=5e-3) for length in lengths)

    @given(some_sentences, st.sampled_from(KINDS), st.randoms())
    @settings(max_examples=50, deadline=None)
    def test_features_do_not_depend_on_other_sentences(self, some, kind, random):
        rows = vectors(some, 128, *kind)
        order = list(range(len(some)))
        random.shuffle(order)
        assert np.array_equal(vectors([some[i] for i in order], 128, *kind), rows[order])
        for sentence, row in zip(some, rows, strict=True):
            assert np.array_equal(vectors([sentence], 128, *kind)[0], row)

    def test_a_sentence_without_n_grams_is_a_row_of_zeros(self):
        assert not vectors(["?", ""], 32, 1, None).any()


class TestText:
    def test_the_text_has_no_byte_order_mark(self, tmp_path):
        (tmp_path / "a").write_bytes("\ufeff café\r\n".encode())
        assert text(tmp_path / "a") == " café\r\n"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "the file is empty"),
            (b" \n\n", "the file is empty"),
            ("café".encode("latin-1"), "not text in UTF-8 (at byte 3)"),
            ("card".encode("utf-16"), "not text in UTF-8 (at byte 0)"),
        ],
    )
    def test_invalid_text_is_one_line(self, tmp_path, content, reason):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(Refused) as refused:
            text(tmp_path / "a")
        assert refused.value.mistakes == [f"{tmp_path / 'a'}: {reason}"]

    def test_a_huge_file_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(module, "LIMIT", 1 << 20)
        with (tmp_path / "a").open("wb") as file:
            file.truncate(1 << 40)  # a terabyte of nothing
        with pytest.raises(Refused, match=r"cannot be read \(more than 1 MB\)"):
            text(tmp_path / "a")

    def test_a_folder_or_a_pipe_in_its_place_is_one_line(self, tmp_path):
        os.mkfifo(tmp_path / "pipe")  # reading it would wait for ever
        for path in (tmp_path, tmp_path / "pipe"):
            with pytest.raises(Refused, match=r"cannot be read \((not a file|Is a directory)\)"):
                text(path)

    @pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read anything")
    def test_a_file_without_rights_is_one_line(self, tmp_path):
        (tmp_path / "a").write_bytes(b"x")
        (tmp_path / "a").chmod(0)
        with pytest.raises(Refused, match="cannot be read"):
            text(tmp_path / "a")


def test_the_content_hash_depends_on_all_content_but_no_order():
    some = {"pin": ["forgot it", "change it"], "card": ["lost it"]}
    turned = {"card": ["lost it"], "pin": ["change it", "forgot it"]}
    assert content_hash(some) == content_hash(turned)
    others = [
        {"pin": ["forgot it", "change it."], "card": ["lost it"]},
        {"pin": ["forgot it"], "card": ["lost it", "change it"]},
        {"pin": ["forgot it", "change it", "change it"], "card": ["lost it"]},
        {"pin": ["forgot it", "change it"], "lost card": ["lost it"]},
    ]
    assert len({content_hash(s) for s in [some, *others]}) == 5
    assert content_hash({"pin": ["\ud800"]})  # JSON may hold half a letter
