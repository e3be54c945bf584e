"""How far a run is: what a checkpoint holds, so that the run can go on as if never stopped."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import Tensor, nn, optim

from metarun.errors import Refused
from metarun.runs import checkpoint, metrics
from metarun.training.parts import Parts, saved_spec
from metarun.training.protocol import trained_on


@dataclass(kw_only=True)
class State:
    """The state of a run, under the names that its checkpoints have for it.

    Attributes:
        step: outer steps done.
        validated: the step of the last validation; 0 before the first.
        best: the scores of the validation that was best, with its `best_step`.
        best_learner: the weights that were validated then.
        recent: the scores of each step since the last training line in `metrics.jsonl`.
        metrics: the record of the lines of `metrics.jsonl`.
        wall_seconds: of all processes that have worked on the run.
        step_seconds: those of them that outer steps took.
        id: stays the same when the run is resumed; loggers know the run by it.
        command: what the user typed first.
        resumed_with: what the user typed to go on, each time.
        task: what the learner was told of its tasks, see `metarun.training.parts.saved_spec`.
        trained_on: what `metarun.training.protocol.trained_on` says.
        splits: the sha256 of each split.
        config: of the run, plain containers.
        learner, optimizer: what they hold after `step`. Only a state that was read from a
            checkpoint has them, and only until they are loaded.
        trial: the number of the run in a search, if it is one of a search.
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
    task: dict[str, int]
    trained_on: dict[str, str]
    splits: dict[str, str]
    config: dict[str, Any]
    learner: dict[str, Any] | None = None
    optimizer: dict[str, Any] | None = None
    trial: int | None = None

    @classmethod
    def begin(cls, parts: Parts, command: str) -> State:
        """The state of a run that has not taken a step."""
        return cls(
            command=command,
            task=saved_spec(parts.spec),
            trained_on=trained_on(parts),
            splits={name: split.sha256 for name, split in parts.splits.items()},
            config=parts.config.model_dump(),
        )

    @classmethod
    def restore(cls, folder: Path) -> State | None:
        """Read the last whole checkpoint in `folder`; `None` if there is none yet.

        Raises:
            Refused: all that there are are damaged, or not those of a run.
        """
        saved = checkpoint.latest(folder)
        if saved is None:
            return None
        known = {"trial": None, **saved}
        names = [f.name for f in fields(cls)]
        lacking = [name for name in names if name not in known]
        if lacking:
            raise Refused(f"{folder}: not the checkpoint of a run: lacks {lacking[0]}")
        return cls(**{name: known[name] for name in names})

    def load_into(self, learner: nn.Module, optimizer: optim.Optimizer) -> bool:
        """Load what the checkpoint says of both and let go of it; False if it says nothing."""
        if self.learner is None:
            return False
        learner.load_state_dict(self.learner)
        optimizer.load_state_dict(self.optimizer)
        self.learner = self.optimizer = None
        return True

    def state_dict(self, learner: nn.Module, optimizer: optim.Optimizer) -> dict[str, Any]:
        """What a checkpoint holds after this step."""
        weights = {"learner": learner.state_dict(), "optimizer": optimizer.state_dict()}
        return {**vars(self), **weights}

    def best_checkpoint(self) -> dict[str, Any] | None:
        """What `best.pt` holds; `None` before the first validation."""
        return None if self.best is None else checkpoint.best_of(vars(self))


class Clock:
    """Adds the time since its last lap to the state, so that it survives a resume."""

    def __init__(self, state: State) -> None:
        self.state, self.last = state, time.monotonic()

    def lap(self, in_step: bool = False) -> None:
        """Add the time to `wall_seconds`, and to `step_seconds` where it was an outer step."""
        now = time.monotonic()
        self.state.wall_seconds += now - self.last
        if in_step:
            self.state.step_seconds += now - self.last
        self.last = now
