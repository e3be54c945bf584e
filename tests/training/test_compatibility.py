"""Learners take the kinds of tasks that they name; others are refused in one line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from metarun.config.compose import checked, compose
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Spec
from metarun.training.compatibility import check_learner


def refused(takes: tuple[str, ...], kind: str) -> list[str]:
    config = checked(compose(["algo=maml", "data=glyphs"]))
    learner = SimpleNamespace(takes=takes, needs_labels=False)
    return check_learner(config, learner, Spec((6,), 2, CLASSIFICATION, kind=kind))


@pytest.mark.parametrize(
    ("takes", "kind", "message"),
    [
        (("examples",), "environments", "needs supports made of examples, but those of glyphs"),
        (("examples",), "trials", "adapts to supports, and trials of glyphs have none; algo=rl2"),
        (("examples", "environments"), "functions", "adapts a network, but tasks of glyphs are"),
        (
            ("functions",),
            "examples",
            "minimises functions, and tasks of glyphs are none; use data=",
        ),
        (("trials",), "examples", "learns from the action and the reward before, which items of"),
        (("environments",), "examples", "takes no supports made of examples, but those of glyphs"),
    ],
)
def test_tasks_of_another_kind_are_refused(takes: tuple[str, ...], kind: str, message: str) -> None:
    (line,) = refused(takes, kind)
    assert line.startswith(f"algo=maml data=glyphs: maml {message}")


def test_tasks_of_the_named_kinds_are_taken() -> None:
    assert refused(("examples", "environments"), "examples") == []
    assert refused(("trials", "functions"), "functions") == []
