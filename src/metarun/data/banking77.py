"""BANKING77: questions of bank customers, 77 intents with 75 to 227 sentences each.

Casanueva et al., 2020, https://github.com/PolyAI-LDN/task-specific-datasets (CC BY 4.0).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import NonNegativeInt

from metarun.config.schema import Place
from metarun.data.class_splits import held_out, published_list
from metarun.data.official_sentences import OfficialSentences
from metarun.data.preparation.text_files import table
from metarun.data.sentences import Characters, Features, Words
from metarun.data.tokens import Tokens

COLUMNS = ("text", "category")


class BANKING77(OfficialSentences):
    """BANKING77: one domain with similar intents.

    The official training and test files share their intents. Here, whole intents are held out, so
    the sentences of both files are pooled.

    Args:
        root, cache, url, features, words, characters, tokens: as in `OfficialSentences`; the files
            are `train.csv` and `test.csv`.
        split_seed: seed of the random split into 40 / 12 / 25 intents.
    """

    name = "banking77"
    files: ClassVar[dict[str, str]] = {
        "train.csv": "b06e26ac675513959a63135f11b94ea7786ed02da65db93a5650d8838cbc664b",
        "test.csv": "d12d6e3bc4c3103966ae786dc435913c0c563dfa328f5a3646d0e62cfeeb474d",
    }
    content = "f885c7521d1e01c2b93255ce144e16b979018ec4e1500c9a5443e13ac5c2c1a9"
    counts = published_list("banking77")

    def __init__(
        self,
        *,
        root: Place,
        cache: Place,
        split_seed: NonNegativeInt = 0,
        features: Features = 2048,
        words: Words = 0,
        characters: Characters = (3, 4),
        tokens: Tokens | None = None,
        url: str = (
            "https://raw.githubusercontent.com/PolyAI-LDN/task-specific-datasets/master/banking_data"
        ),
    ) -> None:
        super().__init__(root, cache, features, words, characters, url, tokens)
        self.split_seed = split_seed

    def classes(self) -> dict[str, list[str]]:
        return held_out(self.counts, 12, 25, self.split_seed)

    def parse(self, paths: Mapping[str, Path]) -> dict[str, list[str]]:
        sentences: dict[str, list[str]] = {}
        for path in paths.values():
            for sentence, intent in table(path, COLUMNS, str(path)):
                sentences.setdefault(intent, []).append(sentence)
        return sentences
