"""CLINC150: requests to a digital assistant, 150 intents in 10 domains, 150 sentences each.

Larson et al., 2019, https://github.com/clinc/oos-eval (CC BY 3.0).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import NonNegativeInt

from metarun.config.schema import Place
from metarun.data.class_splits import held_out, published_list
from metarun.data.official_sentences import OfficialSentences
from metarun.data.preparation.text_files import text
from metarun.data.sentences import Characters, Features, Words
from metarun.data.tokens import Tokens
from metarun.errors import Refused

DOMAINS = published_list("clinc150")
NAMES = {name: f"{domain}/{name}" for domain, intents in DOMAINS.items() for name in intents}
FILE = "data_full.json"
PARTS = ("train", "val", "test")  # of ordinary classification: 100, 20, 30 sentences per intent


class CLINC150(OfficialSentences):
    """CLINC150; classes have names such as `travel/translate`.

    The official training, validation and test parts share their intents. Here, whole intents are
    held out, so the sentences of all parts are pooled. Out-of-scope sentences (`oos_…`) have no
    intent and are left out.

    Args:
        root, cache, url, features, words, characters, tokens: as in `OfficialSentences`; the file
            is `data_full.json`.
        split: `intents`, 90 / 30 / 30 random intents; `domains`, all intents of 6 / 2 / 2 random
            domains, so that training and test share no domain.
        split_seed: seed of the random split.
    """

    name = "clinc150"
    files: ClassVar[dict[str, str]] = {
        FILE: "36923c3705a59e08fe9c3883d8bc2dd966ef93e22cb78ac41171782a698d56e0"
    }
    content = "d0f690c1bc91104c0c57be7fd175f021e4338e0ecb347b5d9ba9a306be0b7161"
    counts = dict.fromkeys(NAMES.values(), 150)

    def __init__(
        self,
        *,
        root: Place,
        cache: Place,
        split: Literal["intents", "domains"] = "intents",
        split_seed: NonNegativeInt = 0,
        features: Features = 2048,
        words: Words = 0,
        characters: Characters = (3, 4),
        tokens: Tokens | None = None,
        url: str = "https://raw.githubusercontent.com/clinc/oos-eval/master/data",
    ) -> None:
        super().__init__(root, cache, features, words, characters, url, tokens)
        self.split, self.split_seed = split, split_seed

    def classes(self) -> dict[str, list[str]]:
        if self.split == "intents":
            return held_out(NAMES.values(), 30, 30, self.split_seed)
        return {
            split: [NAMES[intent] for domain in domains for intent in DOMAINS[domain]]
            for split, domains in held_out(DOMAINS, 2, 2, self.split_seed).items()
        }

    def parse(self, paths: Mapping[str, Path]) -> dict[str, list[str]]:
        path, sentences = paths[FILE], {}
        wrong = f"{path}: not CLINC150's format"
        try:
            content = json.loads(text(path))
        except (ValueError, RecursionError) as error:
            reason = "nested too deeply" if isinstance(error, RecursionError) else error
            raise Refused(f"{path}: not JSON ({reason})") from error
        for part in PARTS:
            rows = content.get(part) if isinstance(content, dict) else None
            if not isinstance(rows, list):
                raise Refused(f'{wrong}: no list of sentences under "{part}"')
            for number, row in enumerate(rows):
                match row:
                    case [str(sentence), str(intent)]:
                        name = NAMES.get(intent, intent)
                        sentences.setdefault(name, []).append(" ".join(sentence.split()))
                    case _:
                        raise Refused(
                            f'{wrong}: item {number} of "{part}" is not [sentence, intent]'
                        )
        return sentences
