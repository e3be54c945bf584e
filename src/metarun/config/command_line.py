"""What was typed, taken apart."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

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

    def folder(self, key: str) -> Path | None:
        """Remove `key=FOLDER` from the words; `~` is one's home.

        Raises:
            Refused: there is no name after the `=`.
        """
        value = self.take(key)
        if value is None:
            return None
        if not value:
            raise Refused(f"{key}=: name a folder: {key}=RUN_DIR")
        return Path(value).expanduser()

    def accept(self, *flags: str) -> None:
        """Refuse the flags that this command would not heed.

        Raises:
            Refused: with a line for each.
        """
        offered = {
            "cfg": "--cfg",
            "info": "--info",
            "multirun": "-m",
            "shell_completion": "-sc",
            "hydra_help": "--hydra-help",
            "config_dir": "--config-dir",
            "config_name": "--config-name",
            "config_path": "--config-path",
            "experimental_rerun": "--experimental-rerun",
        }
        wrong = [flag for name, flag in offered.items() if getattr(self.flags, name, None)]
        wrong = [flag for flag in wrong if flag not in flags]
        if wrong:
            raise Refused(*(f"{flag}: this command does not take it" for flag in wrong))
