"""The outer loop of meta-training, with validation and checkpoints."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarun.errors import Interrupted, RunFailed
from metarun.loggers import Logger
from metarun.runs import checkpoint, metrics
from metarun.stats import interval
from metarun.tasks.sampler import Sampler
from metarun.training.evaluation import evaluate
from metarun.training.gradient import accumulate
from metarun.training.interruption import Stop
from metarun.training.optimizer import Outer
from metarun.training.parts import Parts
from metarun.training.processes import WorkerEnded
from metarun.training.progress import Display
from metarun.training.state import Clock, State
from metarun.training.workers import Workers

SEEN = 200  # training tasks that a learner may see before a validation


class NotFinite(RunFailed):
    """A loss, score or meta-gradient is not finite. The step was not taken."""


class Trial(Protocol):
    """The trial of a search that a run belongs to. `number` is its number in the search."""

    number: int

    def validated(self, step: int, val: Mapping[str, Any]) -> None:
        """Report the validation scores after `step`; the state of that step has been saved.

        Raises:
            Pruned: the search ends this trial early.
        """


@dataclass
class Session:
    """A run in the process that executes it.

    Attributes:
        parts: the objects of the run.
        out: the run folder.
        state: the progress of the run.
        trial: receives each validation, if the run belongs to a search.
        clock: measures the time of this session.
        workers: the processes that divide the work; `None` if this one works alone.
        deadline: the value of `time.monotonic` after which no further step is taken.
    """

    parts: Parts
    out: Path
    state: State
    trial: Trial | None = None
    clock: Clock = field(init=False)
    workers: Workers | None = None
    deadline: float = math.inf

    def __post_init__(self) -> None:
        self.clock = Clock(self.state)
        if self.trial is not None:
            self.state.trial = self.trial.number


def meta_train(
    session: Session, outer: Outer, logger: Logger, stop: Stop, display: Display
) -> None:
    """Train from step `session.state.step` to the last one, with validation and checkpoints.

    Raises:
        NotFinite: a loss, score or gradient is not finite; earlier checkpoints are kept.
        Interrupted, WorkerEnded: a signal or the deadline has arrived, or a worker has ended; the
            state has been saved.
    """
    parts, out, state, clock = session.parts, session.out, session.state, session.clock
    config, learner, folder = parts.config, parts.learner, out / "checkpoints"
    steps, batch, episodes = config.steps, config.meta_batch, config.val_episodes
    training, validation = parts.training(), None
    if "val" in parts.splits:  # else the last checkpoint is tested
        validation = parts.frozen("val")
    seen = Sampler.training(training.source, config.seed)  # without augmentation
    headline = parts.spec.objective.headline

    def save() -> None:
        content = state.state_dict(learner, outer.optimizer)
        checkpoint.save(folder / checkpoint.LAST, content, keep=checkpoint.PREVIOUS)

    def note(split: str, values: dict[str, float]) -> None:
        metrics.append(out, state.step, split, values, state.metrics)
        logger.log(state.step, {f"{split}/{name}": value for name, value in values.items()})

    try:
        while True:
            step = state.step  # number of finished outer steps
            due = step == steps or (step > 0 and step % config.eval_every == 0)
            if due and (state.best is None or state.validated < step):
                with torch.no_grad():
                    learner.see_training_tasks(seen.tasks([i])[0] for i in range(SEEN))
                val, improved = {}, True
                if validation is not None:
                    proceed = display.progress("validate", episodes, stop)
                    scores = evaluate(learner, validation, episodes, proceed, session.workers)
                    val = {name: interval(values) for name, values in scores.items()}
                    best = None if state.best is None else state.best[headline.score]["mean"]
                    improved = best is None or headline.better(val[headline.score]["mean"], best)
                if improved:
                    state.best = {"best_step": step, **val}
                    state.best_learner = _copy(learner.state_dict())
                if val:
                    means = {name: stat["mean"] for name, stat in val.items()}
                    note("val", {**means, "ci95": val[headline.score]["ci95"]})
                state.validated = step
                clock.lap()
                save()
                if improved:  # after last.pt, from which best.pt can be restored
                    checkpoint.save(folder / checkpoint.BEST, state.best_checkpoint())
                if val:
                    display.validated(step, val, state.best["best_step"])
                if session.trial is not None:
                    session.trial.validated(step, val)
            if step == steps:
                return

            numbers = range(step * batch, (step + 1) * batch)
            clock.lap()
            # The generator's state need not be saved: draws depend on the seed and task number.
            tasks = training.tasks(numbers) if session.workers is None else ()
            if session.workers is None:
                task_scores = accumulate(learner, tasks, config.seed)
            else:
                task_scores = session.workers.accumulate(numbers)
            scores = {
                name: float(np.mean([float(s[name]) for s in task_scores]))
                for name in task_scores[0]
            }
            try:
                _check_finite(task_scores, numbers)
                scores["gradient_norm"] = outer.step(step, learner, tasks)
            except FloatingPointError as error:
                raise NotFinite(
                    f"step {step + 1}: {error} (loss {scores.get('loss')}; training episodes "
                    f"{numbers[0]} to {numbers[-1]} of seed {config.seed})"
                ) from error
            clock.lap(in_step=True)

            state.step = step + 1
            state.recent.append(scores)
            display.step(step + 1, scores)
            if (step + 1) % config.log_every == 0 or step + 1 == steps:
                recent, state.recent = state.recent, []
                names = [name for name in scores if name in recent[0]]  # of all, if they are ours
                note("train", {k: float(np.mean([r[k] for r in recent])) for k in names})
            stop.check()
            if time.monotonic() > session.deadline and state.step < steps:
                raise Interrupted
    except (Interrupted, WorkerEnded):
        save()
        raise


def _check_finite(task_scores: Sequence[Mapping[str, Tensor]], numbers: range) -> None:
    """Check that the scores of all tasks are finite.

    Raises:
        FloatingPointError: a score is not finite; the message has the numbers of the tasks.
    """
    for name in task_scores[0]:
        bad = [i for i, s in zip(numbers, task_scores, strict=True) if not s[name].isfinite()]
        if bad:
            episodes = ", ".join(map(str, bad))
            raise FloatingPointError(f"the {name} of episode {episodes} is not finite")


def _copy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
