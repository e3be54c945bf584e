"""Sentences as token ids."""

from __future__ import annotations

import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metarun.data import tokens
from metarun.data.banking77 import BANKING77
from metarun.data.tokens import NO_TOKEN, package_folder, token_ids, vocabulary
from metarun.errors import Refused

pytest.importorskip("tokenizers", reason="extra `pretrained`")


@cache
def names() -> dict[int, str]:
    """Id → token, read from the file of the package; `▁` stands for a blank."""
    file = package_folder() / "tokenizers" / "l2_supercat_tokenizer_config.json"
    table = json.loads(file.read_text("utf-8"))["model"]["vocab"]
    return {number: token for token, number in table.items()}


def pieces(ids: np.ndarray) -> list[str]:
    return [names()[number] for number in ids.tolist() if number != NO_TOKEN]


def test_tokens_are_those_of_the_vocabulary() -> None:
    (row,) = token_ids(["I lost my card?"], 8)
    assert row.dtype == np.int32
    assert pieces(row) == ["▁I", "▁lost", "▁my", "▁card", "?"]
    assert (row[5:] == NO_TOKEN).all()


words = st.lists(st.sampled_from(["card", "Überweisung", "lost", "£5", "?"]), min_size=1)


@given(st.lists(words.map(" ".join), min_size=1, max_size=4), st.integers(1, 12))
@settings(max_examples=30, deadline=None)
def test_a_sentence_is_cut_at_its_end_and_does_not_depend_on_others(some, longest) -> None:
    rows, whole = token_ids(some, longest), token_ids(some, 200)
    assert rows.shape == (len(some), longest)
    np.testing.assert_array_equal(rows, whole[:, :longest])
    for sentence, row in zip(some, whole, strict=True):
        np.testing.assert_array_equal(token_ids([sentence], 200)[0], row)
        assert "".join(pieces(row)) == "▁" + sentence.replace(" ", "▁")
        known = row != NO_TOKEN
        assert not known[known.sum() :].any()  # NO_TOKEN only follows the sentence


def test_any_text_has_tokens() -> None:
    rows = token_ids(["", "日本", "\ud800", "a\x00b"], 16)
    assert [(row != NO_TOKEN).any() for row in rows] == [False, True, True, True]


def test_a_data_set_prepares_own_sentences_as_tokens(tmp_path: Path) -> None:
    data = BANKING77(root=str(tmp_path), cache=str(tmp_path), tokens=10)
    np.testing.assert_array_equal(data.prepare_own(["my card"]), token_ids(["my card"], 10))


def test_the_package_is_found_but_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    token_ids(["my card"], 4)
    assert vocabulary().startswith("wordllama 0.")
    assert "wordllama" not in sys.modules


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tokens, "find_spec", lambda name: None)
    with pytest.raises(Refused, match=r"pip install 'metarun\[pretrained\]'"):
        vocabulary()
