"""Hashed n-grams of sentences.

Feature hashing (Weinberger et al. 2009) needs no vocabulary, so no information on held-out classes
enters the features.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def vectors(
    sentences: Sequence[str], features: int, words: int, characters: Sequence[int] | None
) -> np.ndarray:
    """Counts of hashed n-grams, (n, features) float16, each row scaled to norm 1.

    Word and character n-grams have equal weight if both are used. A sentence without n-grams, such
    as "?", gives a row of zeros.
    """
    from sklearn.feature_extraction.text import HashingVectorizer  # takes a second to import

    # Without alternating signs, the values are counts, which learners may weight.
    kinds = []
    if words:
        word = r"(?u)\b\w+\b"  # single letters too: "i" and "a" are words
        kinds.append({"analyzer": "word", "token_pattern": word, "ngram_range": (1, words)})
    if characters:
        kinds.append({"analyzer": "char_wb", "ngram_range": tuple(characters)})
    hashed = [
        HashingVectorizer(n_features=features, norm="l2", alternate_sign=False, **kind)
        for kind in kinds
    ]
    rows = sum(kind.transform(sentences) for kind in hashed).toarray()
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return (rows / np.where(lengths > 0, lengths, 1)).astype(np.float16)
