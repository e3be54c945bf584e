"""The arguments of a command: overrides and flags."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metarun.errors import Refused


@dataclass(frozen=True)
class Request:
    """The arguments of a command.

    Attributes:
        words: the arguments after the command that are not flags.
        flags: the flags, which are those of Hydra.
        line: the whole command line, which can be typed again.
    """

    words: list[str]
    flags: argparse.Namespace
    line: str

    @classmethod
    def of(cls, argv: Sequence[str], line: str) -> Request:
        """Parse `argv`. Unlike in Hydra, flags may also follow overrides.

        Raises:
            Refused: a flag is unknown or has no value, or the config folder is no valid path.
        """
        from hydra._internal.utils import get_args_parser

        class Parser(argparse.ArgumentParser):
            def error(self, message: str) -> None:
                raise Refused(f"{message}; see metarun --help")

        parser = get_args_parser()
        parser.__class__ = Parser
        flags = parser.parse_intermixed_args(argv)
        if (config_dir := flags.config_dir) is not None:
            flags.config_dir = str(expand(config_dir, f"--config-dir {config_dir}"))
        return cls(flags.overrides, flags, line)

    def take(self, key: str) -> str | None:
        """Remove every `key=value` from the words; return the last value without its quotes."""
        matches = [w for w in self.words if w.startswith(f"{key}=")]
        for word in matches:
            self.words.remove(word)
        if not matches:
            return None
        value = matches[-1].partition("=")[2]
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
        return value[1:-1] if quoted else value

    def folder(self, key: str) -> Path | None:
        """Remove `key=FOLDER` from the words and return the path, with `~` expanded.

        Raises:
            Refused: the value is empty.
        """
        value = self.take(key)
        if value is None:
            return None
        if not value:
            raise Refused(f"{key}=: should be a path: {key}=PATH")
        return expand(value, f"{key}={value}")

    def accept(self, *flags: str) -> None:
        """Refuse those of Hydra's flags that are not in `flags`.

        Raises:
            Refused: one line for each flag that the command does not support.
        """
        names = {
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
        used = [flag for name, flag in names.items() if getattr(self.flags, name, None)]
        unsupported = [flag for flag in used if flag not in flags]
        if unsupported:
            raise Refused(*(f"{flag}: this command does not take it" for flag in unsupported))


def expand(place: str, typed: str) -> Path:
    """Return the path with a leading `~` or `~user` replaced by the home folder.

    Args:
        place: the path of a file or folder, which need not exist.
        typed: the word in which the user typed it, for messages.

    Raises:
        Refused: the home folder is unknown, or the system does not accept the path.
    """
    expanded = os.path.expanduser(place)
    if expanded.startswith("~"):
        user = expanded.partition("/")[0]
        hint = "set HOME" if user == "~" else f"for a folder of that name write ./{user}"
        raise Refused(f"{typed}: the home folder {user} is unknown; {hint}")
    try:
        (path := Path(expanded)).exists()
    except (OSError, ValueError) as error:  # for example a name that is too long
        raise Refused(f"{typed}: {getattr(error, 'strerror', None) or error}") from error
    return path


def new_file_mistakes(out: Path | None, suffix: str) -> list[str]:
    """A line if `out=FILE`, where it is typed, is not a new file with this suffix in a folder."""
    if out is None:
        return []
    if out.suffix.lower() != suffix:
        return [f"out={out}: should end in {suffix}"]
    if out.exists() or out.is_symlink():
        return [f"out={out}: is there already; choose another name"]
    return [] if out.parent.is_dir() else [f"out={out}: {out.parent} is not a folder"]
