"""The progress of a run: everything that a checkpoint needs to resume it exactly."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn, optim

from metarun.config.explanation import show
from metarun.runs import checkpoint, metrics
from metarun.runs.content import misfit
from metarun.training.optimizer import Outer
from metarun.training.parts import Parts, saved_spec
from metarun.training.protocol import trained_on


@dataclass(kw_only=True)
class State:
    """The state of a run. The attribute names are also the keys of its checkpoints.

    Attributes:
        step: number of finished outer steps.
        validated: the step of the last validation; 0 before the first.
        best: the scores of the best validation, and its `best_step`.
        best_learner: the learner's weights at the best validation.
        recent: the scores of each step since the last training line in `metrics.jsonl`.
        metrics: number and digest of the lines of `metrics.jsonl`.
        wall_seconds: time of all processes that have executed the run.
        step_seconds: the part of it spent in outer steps.
        id: identifies the run for loggers; it stays the same when the run is resumed.
        command: the command that started the run.
        resumed_with: the commands that resumed the run.
        task: see `metarun.training.parts.saved_spec`.
        trained_on: see `metarun.training.protocol.trained_on`.
        splits: the sha256 of each split.
        config: the configuration of the run, in plain containers.
        learner, optimizer: their state dicts after `step`. Set only in a state read from a
            checkpoint, until `load_into` is called.
        trial: the number of the run in a search; `None` outside of a search.
    """

    step: int = 0
    validated: int = 0
    best: dict[str, Any] | None = None
    best_learner: dict[str, Tensor] | None = None
    recent: list[dict[str, float]] = field(default_factory=list)
    metrics: metrics.Record = field(default_factory=metrics.record)
    wall_seconds: float = 0.0
    step_seconds: float = 0.0
    id: str = field(default_factory=lambda: secrets.token_hex(4))
    command: str
    resumed_with: list[str] = field(default_factory=list)
    task: dict[str, Any]
    trained_on: dict[str, str]
    splits: dict[str, str]
    config: dict[str, Any]
    learner: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None
    trial: int | None = None

    @classmethod
    def begin(cls, parts: Parts, command: str) -> State:
        """The state of a new run."""
        return cls(
            command=command,
            task=saved_spec(parts.spec),
            trained_on=trained_on(parts),
            splits={name: split.sha256 for name, split in parts.splits.items()},
            config=parts.config.model_dump(),
        )

    @classmethod
    def restore(cls, folder: Path) -> State | None:
        """Read the last intact checkpoint in `folder`; `None` if no checkpoint was saved.

        Raises:
            Refused: all checkpoints are damaged.
        """
        saved = checkpoint.latest(folder)
        if saved is None:
            return None
        return cls(**{f.name: saved[f.name] for f in fields(cls) if f.name in saved})

    def mistakes(self, parts: Parts) -> list[str]:
        """A line for each entry, read from a checkpoint, that does not fit the parts of the run."""
        lines = [
            f"{name}: {reason}"
            for name, weights in (("learner", self.learner), ("best_learner", self.best_learner))
            if weights is not None and (reason := misfit(weights, parts.learner.state_dict()))
        ]
        validated = self.best is not None and "val" in parts.splits
        if validated and parts.spec.objective.headline.score not in self.best:
            lines.append(f"best: has no {parts.spec.objective.headline.score}")
        if not self.task.items() <= saved_spec(parts.spec).items():
            lines.append(f"task: {self.task}, not {saved_spec(parts.spec)}")
        if not lines and self.optimizer is not None:
            lines += self._optimizer_mistakes(parts)
        return lines

    def _optimizer_mistakes(self, parts: Parts) -> list[str]:
        outer = outer_of(parts)
        fresh = [{**group} for group in outer.optimizer.param_groups]
        try:
            outer.optimizer.load_state_dict(self.optimizer)
        except Exception as error:  # torch raises errors of many types
            return [f"optimizer: cannot be loaded ({error})"]
        lines = [
            f"optimizer: {key} is {show(group[key])}"
            for group, before in zip(outer.optimizer.param_groups, fresh, strict=True)
            for key in before.keys() & group.keys() - {"params"}
            if _kind(group[key]) is not _kind(before[key])
        ]
        for parameter, values in outer.optimizer.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.dim() and value.shape != parameter.shape:
                    lines.append(f"optimizer: {name} is of shape {tuple(value.shape)}")
        return lines

    def load_into(self, learner: nn.Module, optimizer: optim.Optimizer) -> bool:
        """Load and release the saved state dicts; returns whether there were any."""
        if self.learner is None:
            return False
        learner.load_state_dict(self.learner)
        optimizer.load_state_dict(self.optimizer)
        self.learner = self.optimizer = None
        return True

    def state_dict(self, learner: nn.Module, optimizer: optim.Optimizer) -> dict[str, Any]:
        """The content of a checkpoint at this step."""
        weights = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict()}
        return {**vars(self), **weights}

    def best_checkpoint(self) -> dict[str, Any] | None:
        """The content of `best.pt`; `None` before the first validation."""
        return None if self.best is None else checkpoint.best_of(vars(self))


def outer_of(parts: Parts) -> Outer:
    """A new optimizer of the learner's parameters."""
    learner = parts.learner
    weights = learner.parameters() if learner.learns else [{"params": []}]  # torch refuses []
    return parts.optimizer(weights, parts.config.steps)


def _kind(value: Any) -> type:
    return float if type(value) is int else type(value)


class Clock:
    """Adds elapsed time to the state, so that it is kept when the run is resumed."""

    def __init__(self, state: State) -> None:
        self.state, self.last = state, time.monotonic()

    def lap(self, in_step: bool = False) -> None:
        """Add the time since the last lap to `wall_seconds` and, in a step, to `step_seconds`."""
        now = time.monotonic()
        self.state.wall_seconds += now - self.last
        if in_step:
            self.state.step_seconds += now - self.last
        self.last = now
