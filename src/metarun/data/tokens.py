"""Sentences as token ids of the vocabulary of the package wordllama.

The package itself is not imported: it would change the logging of the process, and its own loading
asks a server for its tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from metarun.errors import Refused

if TYPE_CHECKING:
    from tokenizers import Tokenizer

NO_TOKEN = -1  # after the end of a sentence

Tokens = Annotated[int, Field(ge=1, le=4096)]


def package_folder() -> Path:
    """The folder of the installed package wordllama.

    Raises:
        Refused: it is not installed.
    """
    if (spec := find_spec("wordllama")) is None:
        raise Refused("backbone=wordllama: needs pip install 'metarun[pretrained]'")
    return Path(next(iter(spec.submodule_search_locations)))


def vocabulary() -> str:
    """The name of the vocabulary, with the version of the package.

    Raises:
        Refused: the package is not installed.
    """
    package_folder()
    return f"wordllama {version('wordllama')}"


def token_ids(sentences: Sequence[str], tokens: int) -> np.ndarray:
    """Token ids of sentences, (n, tokens) int32: the first tokens of each, then `NO_TOKEN`.

    Raises:
        Refused: the package is not installed.
    """
    tokenizer, ids = _tokenizer(), np.full((len(sentences), tokens), NO_TOKEN, np.int32)
    for row, sentence in zip(ids, sentences, strict=True):
        text = sentence.encode(errors="replace").decode()  # JSON may hold half a letter
        found = tokenizer.encode(text, add_special_tokens=False).ids[:tokens]
        row[: len(found)] = found
    return ids


@cache
def _tokenizer() -> Tokenizer:
    folder = package_folder()
    from tokenizers import Tokenizer

    return Tokenizer.from_file(str(folder / "tokenizers" / "l2_supercat_tokenizer_config.json"))
