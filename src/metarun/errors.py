"""What metarun says instead of a traceback."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """The request was wrong: nothing was run, nothing was written, exit code 2.

    Args:
        mistakes: one line each; a line names the key or file, the value, and what would be right.
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = list(mistakes)


@dataclass
class Mistakes:
    """Gathers what is wrong, so that it is all said at once."""

    lines: list[str] = field(default_factory=list)

    def catch(self, call: Callable[..., Any], *args: Any) -> Any:
        try:
            return call(*args)
        except Refused as refused:
            self.lines += refused.mistakes
            return None

    def settle(self) -> None:
        if self.lines:
            raise Refused(*dict.fromkeys(self.lines))


class Occupied(Refused):
    """Another process is running in the folder; a sweep leaves the job to it."""


class RunFailed(Exception):
    """The run broke down after it had begun: one line, exit code 1."""


class Interrupted(KeyboardInterrupt):
    """A person or the system asked the run to stop, and it has saved its state: exit code 130.

    Like `KeyboardInterrupt`, it passes through code that catches `Exception`: a sweep ends with it.
    """


class Pruned(Interrupted):
    """A search ended its trial early, as worse than others; its state is saved.

    Args:
        trial: its number.
        step: the outer step after whose validation it ended.
    """

    def __init__(self, trial: int, step: int) -> None:
        super().__init__(f"trial {trial} ended after step {step}")
        self.trial, self.step = trial, step


def complain(*mistakes: str) -> None:
    """One plain line each on standard error, never wrapped."""
    for line in mistakes:
        print(f"metarun: {' '.join(line.split())}", file=sys.stderr, flush=True)


def printable(text: str, longest: int = 2000) -> str:
    """Text from somebody's file, on one line: without control characters, cut if too long."""
    text = "".join(c if c.isprintable() else "�" for c in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 3] + "…"
