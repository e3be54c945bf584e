"""Console output during training."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from rich.console import Console

from metarun.tasks.headline import ACCURACY, Headline
from metarun.training import progress
from metarun.training.interruption import Stop
from metarun.training.progress import Display
from metarun.training.remaining import Remaining

RETURN = Headline("return", higher_is_better=True)
RUN = {"steps": 600, "meta_batch": 4, "eval_every": 100, "val_episodes": 8, "test_episodes": 40}


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets time pass: the argument is a number of seconds."""
    now = [1000.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])

    def wait(seconds: float) -> None:
        now[0] += seconds

    return wait


def terminal(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setattr(
        progress, "console", lambda: Console(width=width, force_terminal=True, highlight=False)
    )


def validate(display: Display, step: int, best: int, mean: float = 0.5) -> None:
    display.validated(step, {"accuracy": {"mean": mean, "ci95": 0.1}}, best)


@pytest.mark.parametrize(
    ("headline", "scores", "step", "validation"),
    [
        (ACCURACY, {"accuracy": 0.5}, "accuracy 50.0 %", "50.00 ± 10.00 %"),
        (ACCURACY, {"mse": 0.5}, "mse 0.5000", "0.5000 ± 0.1000"),  # another known score
        (RETURN, {"mse": 0.5, "return": -2.0}, "return -2.0000", "-2.0000 ± 0.1000"),
    ],
)
def test_steps_and_validations_show_the_headline_score(
    capsys: pytest.CaptureFixture[str], headline: Headline, scores: dict, step: str, validation: str
) -> None:
    with Display(Remaining(steps=10), headline) as display:
        display.step(5, {"loss": 1.25, **scores})
        display.validated(5, {k: {"mean": v, "ci95": 0.1} for k, v in scores.items()}, 5)
    line = capsys.readouterr().out
    assert f"step  5/10  loss 1.250  {step}  validation {validation}  best so far" in line


def test_a_step_without_the_headline_score_shows_the_loss_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Display(Remaining(steps=10), RETURN) as display:
        display.step(5, {"loss": 1.25})
        display.validated(5, {"return": {"mean": 3.0, "ci95": None}}, 5)
    assert "loss 1.250  validation 3.0000  best" in capsys.readouterr().out


def test_the_best_step_is_right_during_the_test_and_after_a_resume() -> None:
    display = Display(Remaining(**RUN, step=500, validated=500), best_step=400)
    assert "best at 400" in display.live.tasks[0].fields["note"]
    display.step(600, {"loss": 1.0})
    validate(display, 600, best=600)
    display.progress("test", 40, Stop())(8)
    assert "best at 600" in display.live.tasks[0].fields["note"]


def test_the_test_counts_in_the_time_that_is_left(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    display = Display(Remaining(**RUN, step=598, validated=500))
    for step in (599, 600):
        clock(2)
        display.step(step, {"loss": 1.0})
    clock(4)
    display.progress("validate", 8, Stop())
    clock(4)
    display.work.episode_rate.add(4, 8)
    validate(display, 600, best=600)
    assert capsys.readouterr().out.endswith("best so far  0:20 left\n")  # 40 episodes of 0.5 s


def test_without_a_terminal_lines_are_printed_at_intervals(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    display = Display(Remaining(**RUN))
    for step in range(1, 71):
        clock(2)
        display.step(step, {"loss": 1.0})
    lines = capsys.readouterr().out.splitlines()
    assert [line[:12] for line in lines] == [
        "step   3/600",
        "step  33/600",
        "step  63/600",
    ]
    # 597 steps of 2 s, and 6 * 8 + 40 episodes, each expected to take as long as a task: 0.5 s
    assert lines[0].endswith("loss 1.000  20:38 left")


def test_without_a_terminal_a_long_test_prints_lines_too(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    display = Display(Remaining(test_episodes=800))
    proceed = display.progress("test", 800, Stop())
    for done in range(8, 801, 8):
        clock(1)
        proceed(done)
    assert capsys.readouterr().out.splitlines() == [
        "test 40/800  1:35 left",
        "test 520/800  0:35 left",
    ]


def test_a_first_step_of_a_minute_does_not_count_in_the_expected_time(
    capsys: pytest.CaptureFixture[str], clock: Callable[[float], None]
) -> None:
    """It contains the start of the device."""
    display = Display(Remaining(steps=11))
    clock(60)
    display.step(1, {"loss": 1.0})
    assert capsys.readouterr().out == ""
    clock(1)
    display.step(2, {"loss": 1.0})
    assert capsys.readouterr().out == "step  2/11  loss 1.000  0:09 left\n"


@pytest.mark.parametrize("width", [40, 60, 80, 100, 160])
@pytest.mark.parametrize("steps", [600, 100_000])
def test_lines_fit_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    clock: Callable[[float], None],
    width: int,
    steps: int,
) -> None:
    terminal(monkeypatch, width)
    display = Display(Remaining(**{**RUN, "steps": steps}))
    for step in (steps // 2 - 1, steps // 2):
        clock(1)
        display.step(step, {"loss": 12.125, "accuracy": 0.5})
    validate(display, steps // 2, steps // 2)
    text = capsys.readouterr().out
    assert all(len(line) <= width for line in text.splitlines())
    assert "validation 50.00 ± 10.00 %" in text  # not broken
    if width in (80, 160):
        assert ("loss" in text) == (width == 160)  # a terminal shows it beside the bar
    if width >= 80:
        assert len(text.splitlines()) == 1

    display.console.print(display.live.get_renderable())
    bar = capsys.readouterr().out
    assert len(bar.splitlines()) == 1
    if width >= 80:
        assert "12.125" in bar


@pytest.mark.parametrize(
    ("steps", "eval_every", "validated", "validations"),
    [
        (600, 100, 0, 6),
        (600, 100, 500, 1),
        (600, 250, 500, 1),  # the last one is after the last step
        (600, 250, 600, 0),
        (1000, 300, 500, 3),  # a run of 500 steps, continued
        (100, 250, 0, 1),
        (0, 250, 0, 0),
    ],
)
def test_the_validations_that_are_left_are_those_of_the_training_loop(
    steps: int, eval_every: int, validated: int, validations: int
) -> None:
    work = Remaining(
        steps=steps, eval_every=eval_every, validated=validated, val_episodes=10, test_episodes=7
    )
    due = [s for s in range(validated + 1, steps + 1) if s % eval_every == 0 or s == steps]
    assert len(due) == validations
    assert work.episodes() == 10 * validations + 7
