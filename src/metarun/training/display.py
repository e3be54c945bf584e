"""Console output of a run: a progress bar on a terminal, plain lines elsewhere."""

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

from metarun.process import job_label
from metarun.runs.results import clock, published, table
from metarun.tasks.headline import ACCURACY, Headline
from metarun.training.interruption import Stop


class Screen(Console):
    """A console that goes silent when its reader exits, so that `metarun … | head` trains on."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends

    def print(self, *objects: Any, **options: Any) -> None:
        """Print as rich does; if several jobs run at once, start each line with the job's label."""
        if not job_label():
            return super().print(*objects, **options)
        with self.capture() as captured:
            super().print(*objects, **options)
        lines = [line.strip() for line in captured.get().splitlines()]
        text = "\n".join(f"{job_label()}  {line}" for line in lines if line)
        super().print(text, markup=False, soft_wrap=True)


def console() -> Console:
    """A console on standard output; without a terminal, tables have a fixed width."""
    if sys.stdout is None:  # closed by the parent process
        return Console(quiet=True)
    if job_label():  # progress bars of several processes would overwrite each other
        return Screen(highlight=False, width=160, force_terminal=False)
    return Screen(highlight=False, width=None if sys.stdout.isatty() else 160)


def announce(job: int, overrides: Sequence[str]) -> None:
    """Print that a job of a sweep starts, with its overrides."""
    text = " ".join(overrides)
    line = text if job_label() else f"\njob {job}: {text}"
    console().print(line, markup=False, soft_wrap=True)


def conclude(folder: Path, result: Mapping[str, Any]) -> None:
    """Print the results of a finished run and the path of its `result.json`."""
    screen, headline = console(), Headline.of(result)
    screen.print(table(result, screen.width))
    for name, scores in result.get("test_by_batch_norm", {}).items():
        screen.print(f"{name} batch norm: {headline.figure_in(scores)}", markup=False)
    if note := published(result)[1]:
        screen.print(note, soft_wrap=True, markup=False)
    screen.print(f"{folder / 'result.json'}", soft_wrap=True, markup=False)


class Display:
    """Shows the progress of training. A context manager: on exit it removes the progress bar.

    Args:
        steps: outer steps of the whole run; 0 shows no training bar.
        start: outer steps that an earlier process has done.
        headline: the score to show. If it is missing, a known score is shown instead.
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
        """Print a line or a table above the progress bar."""
        self.live.console.print(line, markup=False, soft_wrap=isinstance(line, str))

    def step(self, step: int, scores: Mapping[str, float]) -> None:
        """Show that outer step `step` is done, with its scores."""
        self.latest = f"loss {scores['loss']:.3f}"
        if headline := self._shown(scores):
            self.latest += f"  {headline.score} {headline.text(scores[headline.score])}"
        self.live.update(self.training, completed=step, note=f"{self.latest}  {self.best}")

    def progress(self, name: str, total: int, stop: Stop) -> Callable[[int], None]:
        """A callback that shows the progress of an evaluation and ends it on a stop request.

        Args:
            name: shown beside the bar.
            total: episodes of the evaluation.
        """

        def proceed(done: int) -> None:
            self.live.update(
                self.testing, description=name, completed=done, total=total, visible=done < total
            )
            stop.check()

        return proceed

    def validated(self, step: int, val: Mapping[str, object], best_step: int) -> None:
        """Print the validation scores after outer step `step`."""
        done, seconds = step - self.start, time.monotonic() - self.began
        left = clock(seconds / max(done, 1) * (self.steps - step))
        mark = "  best so far" if best_step == step else ""
        self.best = f"best at {best_step}"
        self.say(
            f"step {step:>{len(str(self.steps))}}/{self.steps}  {self.latest}  "
            f"validation {self._shown(val).figure_in(val)}{mark}  {left} left"
        )

    def _shown(self, scores: Mapping[str, object]) -> Headline:
        return self.headline if self.headline.score in scores else Headline.among(scores)
