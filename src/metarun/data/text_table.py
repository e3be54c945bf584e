"""Your own sentences, in a table with a column of labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from pydantic import NonNegativeInt

from metarun.config.schema import Place
from metarun.data.class_splits import split_classes
from metarun.data.classes import Facts, Split, select
from metarun.data.own_folder import Fractions, Name
from metarun.data.preparation.text_files import table
from metarun.data.sentences import Characters, Features, Sentences, Words, content_hash
from metarun.data.tokens import Tokens
from metarun.errors import Refused


class TextTable(Sentences):
    """Sentences of a CSV or TSV file or of JSON lines; a class is all sentences of one label.

    Args:
        file: the table; there is no default.
        text, label: names of the columns.
        name: name of the set in tables, titles and results; by default that of the file.
        cache: folder of prepared data sets; the array is kept in its subfolder `text_table`.
        fractions, split_seed, split_file: see `metarun.data.class_splits.split_classes`.
        features, words, characters, tokens: see `Sentences`.
    """

    def __init__(
        self,
        *,
        file: Place | None,
        text: Name = "text",
        label: Name = "label",
        name: Name | None = None,
        cache: Place,
        fractions: Fractions = (0.6, 0.2, 0.2),
        split_seed: NonNegativeInt = 0,
        split_file: Place | None = None,
        features: Features = 2048,
        words: Words = 0,
        characters: Characters = (3, 4),
        tokens: Tokens | None = None,
    ) -> None:
        super().__init__(features, words, characters, tokens)
        if not file:
            raise Refused("data.file: name the table of your sentences: data.file=FILE.csv")
        self.file, self.columns = Path(file).expanduser(), (text, label)
        self.folder = Path(cache).expanduser() / "text_table"
        self.fractions, self.split_seed, self.split_file = fractions, split_seed, split_file

    def facts(self) -> dict[str, Facts | None]:
        """Classes and sentences of each split; reads the file.

        Raises:
            Refused: the file is missing or no such table, or its classes cannot be split.
        """
        return {
            split: Facts.of({name: len(self.sentences[name]) for name in names})
            for split, names in self.classes.items()
        }

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call prepares all sentences.

        Raises:
            Refused: as in `facts`, or the cache is not writable.
        """
        place = str(self.file.resolve()).encode("utf-8", "backslashreplace")
        folder = self.folder / hashlib.sha256(place).hexdigest()[:12]
        name = f"text_table {content_hash(self.sentences)}"
        items = self._prepared(folder, name, lambda: self.sentences, self.file)
        return {split: select(items, names) for split, names in self.classes.items()}

    @cached_property
    def sentences(self) -> dict[str, Sequence[str]]:
        """The sentences of each label."""
        found: dict[str, list[str]] = {}
        for sentence, label in table(self.file, self.columns, f"data.file={self.file}"):
            found.setdefault(label, []).append(sentence)
        return found

    @cached_property
    def classes(self) -> dict[str, list[str]]:
        """Class names of each split."""
        settings = (self.fractions, self.split_seed, self.split_file)
        return split_classes(self.sentences, *settings, source=f"data.file={self.file}")
