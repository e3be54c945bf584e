"""Sentences grouped by intent: read as text, known by their content, turned into hashed n-grams.

A data set of this kind names its official files and how to take them apart; the rest is here.
Hashing (Weinberger et al. 2009) knows no vocabulary, so nothing of the classes held out gets into
the features of the others.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field, NonNegativeInt

from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import counted
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.download import existing, fetch, put
from metarun.data.preparation.images import Class
from metarun.errors import Refused
from metarun.files import read_or_refuse

PREPARATION = 1  # raise it when the prepared array changes for equal sentences
LIMIT = 32 << 20  # bytes of a file; the official ones have 3 MB at most
SHOWN = 60  # letters of a sentence in a message

Features = Annotated[int, Field(ge=16, le=65536)]
Words = Annotated[NonNegativeInt, Field(le=5)]
Characters = list[Annotated[int, Field(ge=1, le=10)]] | None


class Sentences(ABC):
    """Sentences as vectors (features,), float16, not negative, of length 1, grouped by intent.

    Args:
        root, cache, url: as of any data set.
        features: length of a vector: how many values the n-grams are hashed to.
        words: longest run of words that counts as an n-gram; 0: none.
        characters: shortest and longest run of letters within a word, its ends marked by a blank;
            `None`: none.

    Raises:
        Refused: there are no n-grams with these keys.
    """

    name: ClassVar[str]
    files: ClassVar[Mapping[str, str]]  # file → sha256 of the official one, for downloads only
    content: ClassVar[str]  # content_hash of the whole data set
    counts: ClassVar[Mapping[str, int]]  # class → sentences

    def __init__(
        self,
        root: str,
        cache: str,
        features: int,
        words: int,
        characters: Sequence[int] | None,
        url: str,
    ) -> None:
        if characters is not None and (len(characters) != 2 or characters[0] > characters[1]):
            given = ",".join(map(str, characters))
            raise Refused(
                f"data.characters=[{given}]: should be the shortest and the longest run of "
                "letters, e.g. [3,4], or null"
            )
        if not words and characters is None:
            raise Refused(
                f"data.words={words} data.characters=null: no n-grams are left; "
                "data.words=1 counts words"
            )
        self.root = Path(root).expanduser()
        self.folder = Path(cache).expanduser() / self.name
        self.features, self.words = features, words
        self.characters = None if characters is None else list(characters)
        self.url = url.rstrip("/")

    @abstractmethod
    def classes(self) -> dict[str, list[str]]:
        """Class names of `train`, `val` and `test`."""

    @abstractmethod
    def parse(self, paths: Mapping[str, Path]) -> dict[str, list[str]]:
        """Class name → its sentences, from the official files."""

    def facts(self) -> dict[str, Facts | None]:
        """Classes of each split, and sentences in the smallest, known without the files."""
        return {
            split: Facts(len(names), min(self.counts[name] for name in names))
            for split, names in self.classes().items()
        }

    def load(self) -> dict[str, Split]:
        """The three splits; the first call hashes all sentences, for seconds.

        Raises:
            Refused: files are missing, altered or broken, or the cache cannot be written to.
        """
        existing(self.root, self.folder.parent, self._by_hand())
        settings = f"features={self.features} words={self.words} characters={self.characters}"
        key = f"{self.name} {self.content} {PREPARATION} {settings}"
        vectors = prepared(self.folder, key, self._prepare)
        return {split: select(vectors, names) for split, names in self.classes().items()}

    def _prepare(self) -> Iterator[Class]:
        sentences = self.parse({file: self._source(file) for file in self.files})
        if mistakes := self._unlike(sentences):
            raise Refused(f"data.root={self.root}: {mistakes}; {self._by_hand()}")
        for name in sorted(sentences):
            mine = sorted(sentences[name])  # whatever their order in the files
            items = vectors(mine, self.features, self.words, self.characters)
            yield Class(name, items, [shown(sentence) for sentence in mine])

    def _source(self, file: str) -> Path:
        checksum = f"sha256:{self.files[file]}"
        return fetch(f"{self.url}/{file}", self.root / file, checksum, by_hand=self._by_hand())

    def _by_hand(self) -> str:
        return put(self.root, (f"{self.url}/{file}" for file in self.files))

    def _unlike(self, sentences: Mapping[str, Sequence[str]]) -> str:
        """What is missing from the official data set, or too much; empty if nothing is."""
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


def text(path: Path) -> str:
    """The content of a text file in UTF-8, line ends as they are.

    Raises:
        Refused: it cannot be read, is implausibly large, empty, or not UTF-8.
    """
    content = read_or_refuse(path, LIMIT)
    if not content.strip():
        raise Refused(f"{path}: the file is empty")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise Refused(f"{path}: not text in UTF-8 (at byte {error.start})") from error


def vectors(
    sentences: Sequence[str], features: int, words: int, characters: Sequence[int] | None
) -> np.ndarray:
    """(n, features) float16: counts of hashed n-grams, each row of length 1.

    Runs of words and runs of letters count as much as each other where there are both. A sentence
    without any n-gram, such as "?", is a row of zeros.
    """
    from sklearn.feature_extraction.text import HashingVectorizer  # takes a second to import

    # Without alternating signs the values are counts, so a learner may weigh them.
    kinds = []
    if words:
        word = r"(?u)\b\w+\b"  # single letters, too: "i" and "a" are words
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


def content_hash(sentences: Mapping[str, Iterable[str]]) -> str:
    """sha256 over intents and sentences in sorted order: line ends and layout do not matter."""
    digest = hashlib.sha256()
    for name in sorted(sentences):
        for sentence in sorted(sentences[name]):
            digest.update(f"{name}\t{sentence}\n".encode(errors="surrogatepass"))
    return digest.hexdigest()


def shown(sentence: str) -> str:
    return sentence if len(sentence) <= SHOWN else f"{sentence[: SHOWN - 1]}…"
