"""An error in a logger does not end the run."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from metarun.loggers import Guarded, Run

RUN = Run(Path("."), "id", "name", {})


class Failing:
    """Raises in one of its methods."""

    def __init__(self, run: Run, *, moment: str, calls: list[str]) -> None:
        self.moment, self.calls = moment, calls
        self.called("made")

    def called(self, name: str) -> None:
        self.calls.append(name)
        if name == self.moment:
            raise RuntimeError("no\nwire")

    def log(self, step: int, values: dict[str, float]) -> None:
        values.clear()  # must not change the caller's dictionary
        self.called("log")

    def finish(self, summary: dict[str, Any], pictures: dict[str, Path], failed: bool) -> None:
        self.called("finish")


@pytest.mark.parametrize(
    ("moment", "calls"),
    [
        ("made", ["made"]),
        ("log", ["made", "log"]),
        ("finish", ["made", "log", "log", "finish"]),
        ("never", ["made", "log", "log", "finish"]),
    ],
)
def test_it_is_not_called_again_after_an_error(
    moment: str, calls: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    actual_calls: list[str] = []
    logger = Guarded(partial(Failing, moment=moment, calls=actual_calls), RUN)
    for step in (1, 2):
        values = {"loss": 1.0}
        logger.log(step, values)
        assert values == {"loss": 1.0}
    logger.finish({}, {}, failed=False)
    assert actual_calls == calls
    warnings = [] if moment == "never" else ["Failing is off for the rest of this run: no"]
    assert caplog.messages == warnings


def test_an_interruption_is_not_caught(caplog: pytest.LogCaptureFixture) -> None:
    def interrupted(run: Run) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Guarded(interrupted, RUN)
