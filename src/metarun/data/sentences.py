"""Base class of sentence data sets: intents as classes, hashed n-grams or token ids as items.

Subclasses define the official files and parse them.

A backbone that takes token ids has the key `tokens`, the length of an item. The key `tokens` of the
data set has the same value by an interpolation in its YAML file, so that sentences are prepared for
the chosen backbone: those of the data set by `load`, those of a user by `prepare_own`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt

from metarun.config.schema import Place
from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import counted
from metarun.data.ngrams import vectors
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.download import fetch, put_advice, require_root
from metarun.data.preparation.images import Class
from metarun.data.preparation.unpacked import unpacked
from metarun.data.tokens import token_ids, vocabulary
from metarun.errors import Refused
from metarun.files import read_or_refuse

PREPARATION = 1  # increase it when the array prepared from the same sentences changes
LIMIT = 32 << 20  # bytes per file; the official files have at most 3 MB
SHOWN = 60  # characters of a sentence in a message

Features = Annotated[int, Field(ge=16, le=65536)]
Words = Annotated[NonNegativeInt, Field(le=5)]
Characters = list[Annotated[int, Field(ge=1, le=10)]] | None


class Sentences(ABC):
    """Sentences with intents as classes.

    Items are non-negative float16 vectors (features,) of norm 1 or, with `tokens`, token ids
    (tokens,) int32.

    Args:
        root, cache, url: see `metarun.data`.
        features: size of a vector, i.e. number of hash values of n-grams.
        words: maximum length of word n-grams; 0 for none.
        characters: minimum and maximum length of character n-grams, taken within words that are
            padded with a blank on both sides; `None` for none.
        tokens: number of token ids of an item, see `metarun.data.tokens`; `None`: n-grams.

    Raises:
        Refused: the keys are invalid or select no n-grams.
    """

    own_items: ClassVar[str] = "sentences"
    name: ClassVar[str]
    files: ClassVar[Mapping[str, str]]  # file → sha256 of the official file, for downloads only
    content: ClassVar[str]  # content_hash of the whole data set
    counts: ClassVar[Mapping[str, int]]  # class → sentences

    def __init__(
        self,
        root: Place,
        cache: Place,
        features: int,
        words: int,
        characters: Sequence[int] | None,
        url: str,
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
        self.root = unpacked(root)
        self.folder = Path(cache).expanduser() / self.name
        self.features, self.words = features, words
        self.characters = None if characters is None else list(characters)
        self.tokens = tokens
        self.url = url.rstrip("/")

    @abstractmethod
    def classes(self) -> dict[str, list[str]]:
        """Class names of `train`, `val` and `test`."""

    @abstractmethod
    def parse(self, paths: Mapping[str, Path]) -> dict[str, list[str]]:
        """Class name → its sentences, read from the official files at `paths`."""

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, and sentences in the smallest class; reads no file."""
        return {
            split: Facts.of({name: self.counts[name] for name in names})
            for split, names in self.classes().items()
        }

    def load(self) -> dict[str, Split]:
        """The three splits; the first call prepares all sentences, which takes seconds.

        Raises:
            Refused: files are missing, altered or damaged, or the cache is not writable.
        """
        require_root(self.root, self.folder.parent, self._by_hand())
        settings = f"features={self.features} words={self.words} characters={self.characters}"
        if self.tokens is not None:
            settings = f"tokens={self.tokens} of {vocabulary()}"
        key = f"{self.name} {self.content} {PREPARATION} {settings}"
        items = prepared(self.folder, key, self._prepare, root=self.root)
        return {split: select(items, names) for split, names in self.classes().items()}

    def prepare_own(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Prepare sentences of the user: (features,) float16, or (tokens,) int32."""
        return list(self._items(sentences))

    def _items(self, sentences: Sequence[str]) -> np.ndarray:
        if self.tokens is not None:
            return token_ids(sentences, self.tokens)
        return vectors(sentences, self.features, self.words, self.characters)

    def _prepare(self) -> Iterator[Class]:
        sentences = self.parse({file: self._source(file) for file in self.files})
        if mistakes := self._differences(sentences):
            raise Refused(f"data.root={self.root}: {mistakes}; {self._by_hand()}")
        for name in sorted(sentences):
            ordered = sorted(sentences[name])  # independent of the order in the files
            yield Class(name, self._items(ordered), [shown(sentence) for sentence in ordered])

    def _source(self, file: str) -> Path:
        checksum = f"sha256:{self.files[file]}"
        return fetch(f"{self.url}/{file}", self.root / file, checksum, by_hand=self._by_hand())

    def _by_hand(self) -> str:
        return put_advice(self.root, (f"{self.url}/{file}" for file in self.files))

    def _differences(self, sentences: Mapping[str, Sequence[str]]) -> str:
        """Differences from the official data set as text; empty if there are none."""
        kinds = {
            f"of {len(self.counts)} intents missing": sorted(set(self.counts) - set(sentences)),
            "intents unknown": [repr(shown(n)) for n in sorted(set(sentences) - set(self.counts))],
            "intents with too many or too few sentences": [
                f"{name}: {len(sentences[name])} instead of {count}"
                for name, count in self.counts.items()
                if name in sentences and len(sentences[name]) != count
            ],
        }
        altered = f"the sentences are not those of {self.name}: some were altered"
        return counted(kinds) or (altered if content_hash(sentences) != self.content else "")


def text(path: Path, encoding: str = "utf-8-sig") -> str:
    """Read a text file; line ends are kept.

    Raises:
        Refused: the file cannot be read, is too large, empty, or not UTF-8.
    """
    content = read_or_refuse(path, LIMIT)
    if not content.strip():
        raise Refused(f"{path}: the file is empty")
    try:
        return content.decode(encoding)
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: not text in UTF-8 (at byte {error.start})") from error


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
