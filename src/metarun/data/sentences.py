"""Sentences as items: hashed n-grams or token ids.

A backbone that takes token ids has the key `tokens`, the length of an item. The key `tokens` of the
data set has the same value by an interpolation in its YAML file, so that sentences are prepared for
the chosen backbone: those of the data set by `load`, those of a user by `prepare_own`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt

from metarun.data.ngrams import vectors
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.images import Class, Images
from metarun.data.tokens import token_ids, vocabulary
from metarun.errors import Refused

PREPARATION = 1  # increase it when the array prepared from the same sentences changes
SHOWN = 60  # characters of a sentence in a message

Features = Annotated[int, Field(ge=16, le=65536)]
Words = Annotated[NonNegativeInt, Field(le=5)]
Characters = list[Annotated[int, Field(ge=1, le=10)]] | None


class Sentences:
    """Base class of data sets whose items are sentences.

    Items are non-negative float16 vectors (features,) of norm 1 or, with `tokens`, token ids
    (tokens,) int32.

    Args:
        features: size of a vector, i.e. number of hash values of n-grams.
        words: maximum length of word n-grams; 0 for none.
        characters: minimum and maximum length of character n-grams, taken within words that are
            padded with a blank on both sides; `None` for none.
        tokens: number of token ids of an item, see `metarun.data.tokens`; `None`: n-grams.

    Raises:
        Refused: the keys are invalid or select no n-grams.
    """

    own_items: ClassVar[str] = "sentences"

    def __init__(
        self,
        features: int,
        words: int,
        characters: Sequence[int] | None,
        tokens: int | None = None,
    ) -> None:
        if characters is not None and (len(characters) != 2 or characters[0] > characters[1]):
            lengths = ",".join(map(str, characters))
            raise Refused(
                f"data.characters=[{lengths}]: should be the shortest and the longest run of "
                "letters, e.g. [3,4], or null"
            )
        if not words and characters is None:
            raise Refused(
                f"data.words={words} data.characters=null: no n-grams are left; "
                "data.words=1 counts words"
            )
        self.features, self.words = features, words
        self.characters = None if characters is None else list(characters)
        self.tokens = tokens

    def prepare_own(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Prepare sentences of the user: (features,) float16, or (tokens,) int32."""
        return list(self._items(sentences))

    def _prepared(
        self,
        folder: Path,
        name: str,
        classes: Callable[[], Mapping[str, Sequence[str]]],
        root: Path,
    ) -> Images:
        """The items of all classes, which are cached in `folder`.

        Args:
            name: identifies the sentences.
            classes: returns the sentences of each class.
            root: where they are read, for `metarun list data`.
        """
        settings = f"features={self.features} words={self.words} characters={self.characters}"
        if self.tokens is not None:
            settings = f"tokens={self.tokens} of {vocabulary()}"

        def make() -> Iterator[Class]:
            for name, sentences in sorted(classes().items()):
                ordered = sorted(sentences)  # independent of the order in the files
                yield Class(name, self._items(ordered), [shown(sentence) for sentence in ordered])

        return prepared(folder, f"{name} {PREPARATION} {settings}", make, root=root)

    def _items(self, sentences: Sequence[str]) -> np.ndarray:
        if self.tokens is not None:
            return token_ids(sentences, self.tokens)
        return vectors(sentences, self.features, self.words, self.characters)


def content_hash(sentences: Mapping[str, Iterable[str]]) -> str:
    """sha256 of the sorted intents and sentences, independent of line ends and file layout."""
    digest = hashlib.sha256()
    for name in sorted(sentences):
        for sentence in sorted(sentences[name]):
            digest.update(f"{name}\t{sentence}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def shown(sentence: str) -> str:
    """The sentence, truncated to `SHOWN` characters."""
    return sentence if len(sentence) <= SHOWN else f"{sentence[: SHOWN - 1]}…"
