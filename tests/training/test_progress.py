"""Console output during training."""

from __future__ import annotations

import pytest

from metarun.tasks.headline import ACCURACY, Headline
from metarun.training.display import Display

RETURN = Headline("return", higher_is_better=True)


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
    with Display(10, headline=headline) as display:
        display.step(5, {"loss": 1.25, **scores})
        display.validated(5, {k: {"mean": v, "ci95": 0.1} for k, v in scores.items()}, 5)
    line = capsys.readouterr().out
    assert f"step  5/10  loss 1.250  {step}  validation {validation}  best so far" in line


def test_a_step_without_the_headline_score_shows_the_loss_only(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with Display(10, headline=RETURN) as display:
        display.step(5, {"loss": 1.25})
        display.validated(5, {"return": {"mean": 3.0, "ci95": None}}, 5)
    assert "loss 1.250  validation 3.0000  best" in capsys.readouterr().out
