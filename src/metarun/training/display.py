"""What a person sees of a run: a live line on a terminal, plain lines elsewhere."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from metarun.process import speaker
from metarun.runs.results import clock, table
from metarun.tasks.headline import ACCURACY, Headline
from metarun.training.interruption import Stop


class Screen(Console):
    """Goes on without a reader: `metarun … | head` does not end a training."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the process ends

    def print(self, *objects: Any, **options: Any) -> None:
        """As rich does; beside other jobs, each line says whose it is."""
        if not speaker():
            return super().print(*objects, **options)
        with self.capture() as captured:
            super().print(*objects, **options)
        lines = [line.strip() for line in captured.get().splitlines()]
        text = "\n".join(f"{speaker()}  {line}" for line in lines if line)
        super().print(text, markup=False, soft_wrap=True)


def console() -> Console:
    """Standard output; tables keep their width where there is no terminal to fit them to."""
    if sys.stdout is None:  # closed by whoever called
        return Console(quiet=True)
    if speaker():  # the live lines of several processes would fight
        return Screen(highlight=False, width=160, force_terminal=False)
    return Screen(highlight=False, width=None if sys.stdout.isatty() else 160)


def announce(job: int, typed: Sequence[str]) -> None:
    """A job of a sweep begins."""
    text = " ".join(typed)
    said = text if speaker() else f"\njob {job}: {text}"
    console().print(said, markup=False, soft_wrap=True)


def conclude(folder: Path, result: Mapping[str, Any]) -> None:
    """The table that a run ends with."""
    screen, headline = console(), Headline.of(result)
    screen.print(table(result))
    for name, scores in result.get("test_by_batch_norm", {}).items():
        screen.print(f"{name} batch norm: {headline.figure_in(scores)}", markup=False)
    screen.print(f"{folder / 'result.json'}", soft_wrap=True, markup=False)


class Display:
    """Shows training as it goes. A context manager: the live line goes away at its end.

    Args:
        start: outer steps that were done before.
        headline: the score that is shown, or another known one where it is not there.
    """

    def __init__(self, steps: int = 0, start: int = 0, headline: Headline = ACCURACY) -> None:
        self.console, self.headline = console(), headline
        self.steps, self.start, self.began = steps, start, time.monotonic()
        self.best = self.latest = ""
        self.live = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeRemainingColumn(elapsed_when_finished=True),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            transient=True,
            disable=not self.console.is_terminal,
        )
        self.training = self.live.add_task(
            "train", total=steps, completed=start, note="", visible=steps > 0
        )
        self.testing = self.live.add_task("", total=1, visible=False, note="")

    def __enter__(self) -> Display:
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.live.stop()

    def say(self, line: str | Table) -> None:
        """Print a line or a table above the live line."""
        self.live.console.print(line, markup=False, soft_wrap=isinstance(line, str))

    def step(self, step: int, scores: Mapping[str, float]) -> None:
        """Outer step `step` is done."""
        self.latest = f"loss {scores['loss']:.3f}"
        if headline := self._judged(scores):
            self.latest += f"  {headline.score} {headline.text(scores[headline.score])}"
        self.live.update(self.training, completed=step, note=f"{self.latest}  {self.best}")

    def during(self, what: str, total: int, stop: Stop) -> Callable[[int], None]:
        """A callback for an evaluation of `total` episodes: shows it, and ends it when asked to."""

        def proceed(done: int) -> None:
            self.live.update(
                self.testing, description=what, completed=done, total=total, visible=done < total
            )
            stop.check()

        return proceed

    def validated(self, step: int, val: Mapping[str, object], best_step: int) -> None:
        """Validation after outer step `step`: a line that stays."""
        done, seconds = step - self.start, time.monotonic() - self.began
        left = clock(seconds / max(done, 1) * (self.steps - step))
        mark = "  best so far" if best_step == step else ""
        self.best = f"best at {best_step}"
        self.say(
            f"step {step:>{len(str(self.steps))}}/{self.steps}  {self.latest}  "
            f"validation {self._judged(val).figure_in(val)}{mark}  {left} left"
        )

    def _judged(self, scores: Mapping[str, object]) -> Headline:
        return self.headline if self.headline.score in scores else Headline.among(scores)
