"""The console, and what is printed before and after a run."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from metarun.errors import printable
from metarun.process import job_label
from metarun.runs.results import clock, interval_over_classes, published, table
from metarun.tasks.headline import UNKNOWN as PLAIN
from metarun.tasks.headline import Headline

FURTHER = 5  # scores beside the main one that are printed
SPLITS = (("test", "test"), ("val", "validation"))


class Screen(Console):
    """A console that goes silent when its reader exits, so that `metarun … | head` trains on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does, without the control characters of the printed text, which may come
        from somebody else. If several jobs run at once, start each line with the job's label.
        """
        objects = tuple(_Printable(thing) for thing in objects)
        if not job_label():
            return super().print(*objects, **options)
        with self.capture() as captured:
            super().print(*objects, **options)
        lines = [line.strip() for line in captured.get().splitlines()]
        text = "\n".join(f"{job_label()}  {line}" for line in lines if line)
        super().print(text, markup=False, soft_wrap=True)


class _Printable:
    """What rich prints for `content`, without control characters in its text."""

    def __init__(self, content: Any) -> None:
        self.content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        content = Text(self.content) if isinstance(self.content, str) else self.content
        for segment in console.render(content, options):
            if segment.control:  # rich's own, such as those of a progress bar
                yield segment
            else:
                lines = segment.text.split("\n")
                text = "\n".join(printable(line, len(line)) for line in lines)
                yield segment._replace(text=text)


def console() -> Console:
    """A console on standard output; without a terminal, tables have a fixed width.

    A notebook gets plain lines: it may call itself a terminal, but keeps all states of a bar.
    """
    if sys.stdout is None:  # closed by the parent process
        return Console(quiet=True)
    if job_label():  # progress bars of several processes would overwrite each other
        return Screen(highlight=False, width=160, force_terminal=False)
    if Console().is_jupyter:
        return Screen(highlight=False, width=160, force_terminal=False, force_jupyter=False)
    return Screen(highlight=False, width=None if sys.stdout.isatty() else 160)


def announce(job: int, overrides: Sequence[str], jobs: int | None = None) -> None:
    """Print that a job of a sweep starts, with its overrides.

    Args:
        job: the number of the job, from 0.
        jobs: the number of jobs in the sweep, if it is known.
    """
    text = " ".join(overrides)
    place = f" ({job + 1} of {jobs})" if jobs else ""
    line = text if job_label() else f"\njob {job}{place}: {text}"
    console().print(line, markup=False, soft_wrap=True)


def conclude_job(result: Mapping[str, Any]) -> None:
    """Print the results of a finished job of a sweep on one line."""
    headline, seconds = Headline.of(result), result.get("run", {}).get("wall_seconds")
    scores = [f"{name} {headline.figure_in(result.get(key))}" for key, name in SPLITS]
    console().print("  " + "  ".join([*scores, clock(seconds)]), markup=False, soft_wrap=True)


def conclude(folder: Path, result: Mapping[str, Any]) -> None:
    """Print the results of a finished run and the path of its `result.json`."""
    screen, headline = console(), Headline.of(result)
    screen.print(table(result, screen.width))
    for name, scores in result.get("test_by_batch_norm", {}).items():
        screen.print(f"{name} batch norm: {headline.figure_in(scores)}", markup=False)
    test, best = result.get("test", {}), result.get("protocol", {}).get("best_possible", {})
    known = ("loss", headline.score, "episodes", "classes")
    if further := [f"{k} {PLAIN.figure(v)}" for k, v in test.items() if k not in known]:
        rest = [f"and {len(further) - FURTHER} more"] if len(further) > FURTHER else []
        screen.print(f"test, further scores: {', '.join(further[:FURTHER] + rest)}", markup=False)
    if headline.score in best:
        screen.print(f"best possible: {headline.figure_in(best)}", markup=False)
    if line := interval_over_classes(result):
        screen.print(line, markup=False)
    if note := published(result)[1]:
        screen.print(note, soft_wrap=True, markup=False)
    screen.print(f"{folder / 'result.json'}", soft_wrap=True, markup=False)
