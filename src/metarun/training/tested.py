"""The test of a trained run: its scores with both kinds of batch norm, and its files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metarun.backbones.norm import BatchNorm
from metarun.errors import Refused
from metarun.runs import results
from metarun.runs.episodes import figures_of, write_scores
from metarun.tasks.sampler import Classes, Sampler
from metarun.training.evaluation import Workers, evaluate_kinds
from metarun.training.interruption import Stop
from metarun.training.parts import Parts
from metarun.training.progress import Display
from metarun.training.protocol import record
from metarun.training.remaining import Remaining

OTHER = {"transductive": "inductive", "inductive": "transductive"}


def refuse_existing(run: Path, name: str | None) -> None:
    """Refuse the name of an evaluation of the run that exists already."""
    if name is not None and (run / "evaluations" / name).exists():
        raise Refused(f"name={name}: {run / 'evaluations' / name} exists already")


def scores_of(
    parts: Parts, sampler: Sampler, episodes: int, title: str, workers: Workers | None = None
) -> dict[str, dict[str, np.ndarray]]:
    """The scores with each kind of batch norm in `_kinds`; shows the progress."""
    learner, kinds = parts.learner, _kinds(parts)
    with Stop() as stop, Display(Remaining(test_episodes=episodes)) as display:
        proceed = display.progress(title, episodes, stop)
        return evaluate_kinds(learner, sampler, episodes, kinds, proceed, workers)


def write_test(
    folder: Path,
    parts: Parts,
    state: Mapping[str, Any],
    scores: Mapping[str, Mapping[str, np.ndarray]],
    classes: Classes | None,
    test_protocol: Mapping[str, Any],
    command: str,
    began: float,
    same_task: bool = False,
) -> dict[str, Any]:
    """Write the scores of each episode and `result.json` into the folder; returns the latter.

    Args:
        scores: of each episode, for each kind of batch norm.
        classes: of the episodes; `None` for data without classes.
        same_task: whether the training validated on tasks of this kind.
    """
    batch_norm, seconds = parts.learner.batch_norm, time.monotonic() - began
    figures = {kind: figures_of(of_kind, classes) for kind, of_kind in scores.items()}
    result = {
        "status": "completed",
        "test": figures[batch_norm],
        "test_by_batch_norm": figures,
        "val": state["best"],
        "val_of_same_task": same_task,
        "protocol": test_protocol,
        "run": record(parts, command, seconds, checkpoint_step=state["step"]),
    }
    write_scores(folder, scores[batch_norm], classes, parts.spec.objective.headline.score)
    results.write(folder, result)
    return result


def _kinds(parts: Parts) -> list[str]:
    """The learner's kind of batch norm and, if it matters, the other kind."""
    configured = parts.learner.batch_norm
    matters = "batch_norm" in parts.config.algo and parts.spec.examples
    normalises = any(isinstance(module, BatchNorm) for module in parts.learner.modules())
    if matters and normalises:
        return [configured, OTHER[configured]]
    return [configured]
