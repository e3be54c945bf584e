"""Exceptions that reach the user as messages, and functions to collect and print messages."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

LONGEST = 20_000  # characters of a line on the terminal


class Refused(Exception):
    """The request is wrong. Nothing was run or written; exit code 2.

    Args:
        mistakes: one line for each mistake, `key=value: what is wrong; what would be right`.
    """

    def __init__(self, *mistakes: str) -> None:
        super().__init__("\n".join(mistakes))
        self.mistakes = list(mistakes)


@contextlib.contextmanager
def refusing_os_errors(name: object, problem: str = "cannot be read") -> Iterator[None]:
    """A context that turns an `OSError` into `Refused`, with the line `name: problem (reason)`."""
    try:
        yield
    except OSError as error:
        raise Refused(f"{name}: {problem} ({error.strerror or error})") from error


@dataclass
class Mistakes:
    """Collects mistakes, so that all are reported at once."""

    lines: list[str] = field(default_factory=list)

    def catch(self, call: Callable[..., Any], *args: Any) -> Any:
        """The result of the call; if it raises `Refused`, collect its mistakes, return `None`."""
        try:
            return call(*args)
        except Refused as refused:
            self.lines += refused.mistakes
            return None

    def settle(self) -> None:
        """Raise `Refused` with all mistakes, if there are any."""
        if self.lines:
            raise Refused(*dict.fromkeys(self.lines))


class Occupied(Refused):
    """Another process is running in the folder. A sweep skips such a job."""


class RunFailed(Exception):
    """The run failed after it had started; exit code 1."""


class Interrupted(KeyboardInterrupt):
    """A signal stopped the run, which can be resumed; exit code 130.

    Like `KeyboardInterrupt`, it is not an `Exception`, so that it also ends a sweep.
    """


class Pruned(Interrupted):
    """A search ended a trial early, because it was worse than others. Its state is saved.

    Args:
        trial: the number of the trial.
        step: the outer step of its last validation.
    """

    def __init__(self, trial: int, step: int) -> None:
        super().__init__(f"trial {trial} ended after step {step}")
        self.trial, self.step = trial, step


def complain(*mistakes: str) -> None:
    """Print each mistake on one line of standard error, not wrapped and `printable`."""
    for line in mistakes:
        text = printable(" ".join(line.split()), LONGEST)
        print(f"metarun: {text}", file=sys.stderr, flush=True)


def say(line: str) -> None:
    """Print a line on standard output, not wrapped and `printable`."""
    print(printable(line, LONGEST), flush=True)


def printable(text: str, longest: int = 2000) -> str:
    """Untrusted text made safe to print: no control characters, at most `longest` characters."""
    text = "".join(c if c.isprintable() else "�" for c in text[: longest + 1])
    return text if len(text) <= longest else text[: longest - 3] + "…"
