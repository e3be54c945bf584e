"""A trained run takes a published test with tasks of its own (`metarun/challenges/`)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np

from metarun import checkpoint, results
from metarun.algorithms import Task
from metarun.build import blueprint, target_of
from metarun.display import Display
from metarun.episodes import Sampler
from metarun.errors import Refused
from metarun.evaluation import interval
from metarun.files import new_folder
from metarun.interruption import Stop
from metarun.parts import Mistakes, Parts
from metarun.protocol import protocol, record, trained_on
from metarun.retest import by_batch_norm, refuse_taken, restored


class Listed(Protocol):
    """Tasks that are written down, one after the other, instead of drawn from classes."""

    shape: tuple[int, ...]
    sha256: str

    def gather(self, picks: Sequence[Any], shots: int) -> tuple[np.ndarray, ...]:
        """As `metarun.episodes.Tasks.gather`; a pick is `(number,)`."""


class InOrder(Sampler):
    """Episode i is the listed task i: nothing is drawn."""

    def pick(self, number: int) -> tuple[np.ndarray]:
        return (np.array(number),)


def take(
    test: ModuleType,
    config: dict[str, Any],
    run: Path,
    name: str | None,
    command: str,
    folders: Sequence[Path] = (),
) -> tuple[Path, dict[str, Any]]:
    """Give the best checkpoint of `run` the tasks of `test`.

    Args:
        test: a module of `metarun.challenges`.
        config: the run's saved configuration with what was typed.
        name: of the folder under `evaluations/`; by default that of the test.

    Returns:
        The new folder and what its `result.json` holds.

    Raises:
        Refused: the run cannot take the test, or was not trained on what its configuration says.
    """
    called, episodes = test.__name__.rpartition(".")[2], test.TASK["episodes"]
    task = {key: test.TASK[key] for key in ("ways", "shots", "queries")}
    refuse_taken(run, name)
    state = checkpoint.best(run / "checkpoints")
    mistakes = Mistakes([f"run={run}: {line}" for line in test.admit(config)])
    learner = mistakes.catch(blueprint, "algo", config["algo"], folders)
    heads = Task(*state["task"]).outputs
    if getattr(target_of(learner), "per_label_head", False) and heads != task["ways"]:
        mistakes.lines.append(
            f"run={run}: {config['choices']['algo']} has a head for each label, and this one "
            f"{heads}; protocol={called} is for one trained with train_ways={task['ways']} "
            f"ways={task['ways']}"
        )
    mistakes.settle()
    parts = restored({**config, **task, "test_episodes": episodes}, run, state, {}, folders)
    _check_training(parts, run, state)
    tasks: Listed = test.load(config)
    if parts.splits["train"].shape != tasks.shape:
        mine = parts.splits["train"].shape
        raise Refused(f"run={run}: trained on items {mine}; those of {called} are {tasks.shape}")
    sampler = InOrder(tasks, *task.values(), key=(), device=parts.device, dtype=parts.dtype)
    began = time.monotonic()
    with Stop() as stop, Display() as display:
        proceed = display.during(called, episodes, stop)
        by_statistics = by_batch_norm(parts, sampler, episodes, proceed)
    for scores in by_statistics.values():
        scores["error_rate"] = 1 - scores["accuracy"]
    figures = {
        kind: {score: interval(values) for score, values in found.items()}
        for kind, found in by_statistics.items()
    }
    folder = new_folder(run / "evaluations", name, called)
    results.write_episodes(folder, by_statistics[parts.learner.batch_norm])
    result = {
        "status": "completed",
        "test": {**figures[parts.learner.batch_norm], "episodes": episodes},
        "test_by_batch_norm": figures,
        "val": state["best"],
        "protocol": {
            **protocol(parts, "test", episodes, state["trained_on"], finished=False),
            "protocol": called,
            "split_sha256": tasks.sha256,
            "pixels": None,
            "copies": None,
            "episodes_sha256": sampler.sha256(episodes),
            "eval_seed": 0,  # nothing is drawn, so it is the same whatever was typed
        },
        "run": record(parts, command, time.monotonic() - began, checkpoint_step=state["step"]),
    }
    results.write(folder, result)
    return folder, result


def _check_training(parts: Parts, run: Path, state: dict[str, Any]) -> None:
    """The checkpoint remembers what it was trained on; a configuration can be edited."""
    if trained_on(parts) != state["trained_on"]:
        raise Refused(
            f"run={run}: its weights were trained on another split than that of config.yaml "
            f"(sha256 {state['trained_on']['train_split_sha256'][:12]}…, and not "
            f"{trained_on(parts)['train_split_sha256'][:12]}…)"
        )
