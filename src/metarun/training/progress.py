"""Console output during a run: a progress bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn
from rich.table import Column, Table

from metarun.runs.results import clock
from metarun.tasks.headline import ACCURACY, Headline
from metarun.training.display import console
from metarun.training.interruption import Stop
from metarun.training.remaining import Remaining

FIRST_LINE, LATER_LINES = 5, 60  # without a terminal: seconds until a line is printed


class Display:
    """Shows the progress of a run. A context manager: on exit it removes the progress bar.

    Without a terminal, it prints a line after the first steps, and then one at intervals of time.

    Args:
        work: the work to do. The display updates it, and shows the expected time.
        headline: the score to show. If it is missing, a known score is shown instead.
        best_step: the step of the best validation of an earlier process.
    """

    def __init__(
        self, work: Remaining, headline: Headline = ACCURACY, best_step: int | None = None
    ) -> None:
        self.console, self.headline, self.work = console(), headline, work
        self.latest: list[str] = []
        self.best = "" if best_step is None else f"best at {best_step}"
        self.measured = self.printed = time.monotonic()
        self.interval = FIRST_LINE
        wide = self.console.width >= 110
        self.live = Progress(
            TextColumn("{task.description:>8}"),
            BarColumn(bar_width=24 if wide else 8),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", table_column=Column(no_wrap=True)),
            console=self.console,
            transient=True,
            disable=not self.console.is_interactive,
        )
        self.training = self.live.add_task(
            "train", total=work.steps, completed=work.step, note=self.best, visible=work.steps > 0
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
        self.printed, self.interval = time.monotonic(), LATER_LINES

    def step(self, step: int, scores: Mapping[str, float]) -> None:
        """Show that outer step `step` is done, with its scores."""
        self.latest = [f"loss {scores['loss']:.3f}"]
        if headline := self._shown(scores):
            self.latest.append(f"{headline.score} {headline.text(scores[headline.score])}")
        self.work.step = step
        self.work.step_rate.add(self._lap(), 1)
        self._refresh()
        if self.work.step_rate.measurements > 1:
            self._say_if_due([self._position(), *self.latest, self._left()])

    def progress(self, name: str, total: int, stop: Stop) -> Callable[[int], None]:
        """A callback that shows the progress of an evaluation and ends it on a stop request.

        Args:
            name: shown beside the bar.
            total: episodes of the evaluation.
        """
        self._lap()
        self.work.evaluated = 0

        def proceed(done: int) -> None:
            self.work.episode_rate.add(self._lap(), done - self.work.evaluated)
            self.work.evaluated = done
            self.live.update(
                self.testing, description=name, completed=done, total=total, visible=done < total
            )
            self._refresh()
            self._say_if_due([f"{name} {done}/{total}", self._left()])
            stop.check()

        return proceed

    def validated(self, step: int, val: Mapping[str, object], best_step: int) -> None:
        """Print the validation scores after outer step `step`."""
        self.work.validated, self.work.evaluated = step, 0
        self.best = f"best at {best_step}"
        self._refresh()
        result = [f"validation {self._shown(val).figure_in(val)}"]
        result += ["best so far"] if best_step == step else []
        parts = [self._position(), *self.latest, *result, self._left()]
        if len("  ".join(parts)) > self.console.width:  # a terminal shows the rest beside the bar
            parts = [self._position(), *result, self._left()]
        self._say_parts(parts)

    def _lap(self) -> float:
        """Seconds since the last call."""
        before, self.measured = self.measured, time.monotonic()
        return self.measured - before

    def _position(self) -> str:
        return f"step {self.work.step:>{len(str(self.work.steps))}}/{self.work.steps}"

    def _left(self) -> str:
        seconds = self.work.seconds()
        return "" if seconds is None else f"{clock(seconds)} left"

    def _refresh(self) -> None:
        """Update the text beside the progress bars."""
        parts = [self._left(), *self.latest, self.best]
        self.live.update(
            self.training, completed=self.work.step, note="  ".join(filter(None, parts))
        )
        self.live.update(self.testing, note="" if self.work.steps else self._left())

    def _say_if_due(self, parts: Sequence[str]) -> None:
        """Without a terminal, print the parts if no line was printed for some time."""
        if not self.console.is_interactive and time.monotonic() - self.printed >= self.interval:
            self._say_parts(parts)

    def _say_parts(self, parts: Sequence[str]) -> None:
        """Print the parts, with line breaks only between them."""
        lines: list[str] = []
        for part in filter(None, parts):
            if lines and len(lines[-1]) + 2 + len(part) <= self.console.width:
                lines[-1] += f"  {part}"
            else:
                lines.append(f"  {part}" if lines else part)
        self.say("\n".join(lines))

    def _shown(self, scores: Mapping[str, object]) -> Headline:
        return self.headline if self.headline.score in scores else Headline.among(scores)
