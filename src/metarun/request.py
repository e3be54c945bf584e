"""What was typed, taken apart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

from metarun.errors import Refused


@dataclass(frozen=True)
class Request:
    """A command's words and flags.

    Attributes:
        words: what follows the command, without flags.
        flags: Hydra's own.
        line: the whole command, as one could type it again.
    """

    words: list[str]
    flags: argparse.Namespace
    line: str

    @classmethod
    def of(cls, argv: Sequence[str], line: str) -> Request:
        """Hydra's parser takes flags before overrides only; here they may stand anywhere.

        Raises:
            Refused: a flag is unknown or lacks its value.
        """
        from hydra._internal.utils import get_args_parser

        class Parser(argparse.ArgumentParser):
            def error(self, message: str) -> None:
                raise Refused(f"{message}; metarun --help shows what can be typed")

        parser = get_args_parser()
        parser.__class__ = Parser
        flags = parser.parse_intermixed_args(argv)
        return cls(flags.overrides, flags, line)

    def take(self, key: str) -> str | None:
        """Remove `key=value` from the words; its value without quotes."""
        found = [w for w in self.words if w.startswith(f"{key}=")]
        for word in found:
            self.words.remove(word)
        if not found:
            return None
        value = found[-1].partition("=")[2]
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        return value[1:-1] if quoted else value
