"""Base class of published sentence data sets, whose official files are downloaded and checked."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from metarun.config.schema import Place
from metarun.data.classes import Facts, Split, select
from metarun.data.duplicates import counted
from metarun.data.preparation.download import fetch, put_advice, require_root
from metarun.data.preparation.unpacked import unpacked
from metarun.data.sentences import Sentences, content_hash, shown
from metarun.errors import Refused


class OfficialSentences(Sentences, ABC):
    """Sentences of published files, with intents as classes. Subclasses define and parse the files.

    Args:
        root, cache, url: see `metarun.data`.
        features, words, characters, tokens: see `Sentences`.
    """

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
        super().__init__(features, words, characters, tokens)
        self.root = unpacked(root)
        self.folder = Path(cache).expanduser() / self.name
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
        items = self._prepared(self.folder, f"{self.name} {self.content}", self._read, self.root)
        return {split: select(items, names) for split, names in self.classes().items()}

    def _read(self) -> dict[str, list[str]]:
        sentences = self.parse({file: self._source(file) for file in self.files})
        if mistakes := self._differences(sentences):
            raise Refused(f"data.root={self.root}: {mistakes}; {self._by_hand()}")
        return sentences

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
