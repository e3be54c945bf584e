"""The loop: episodes, meta-gradient, outer step; validation and checkpoints when they are due."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from torch import Tensor

from metarun.errors import Interrupted, RunFailed
from metarun.loggers import Logger
from metarun.runs import checkpoint, metrics
from metarun.stats import interval
from metarun.training.display import Display
from metarun.training.evaluation import evaluate
from metarun.training.gradient import accumulate
from metarun.training.interruption import Stop
from metarun.training.optimizer import Outer
from metarun.training.parts import Parts
from metarun.training.state import Clock, State


class NotFinite(RunFailed):
    """A score or the meta-gradient of a step: taking that step would lose all that was learned."""


class Trial(Protocol):
    """Follows a run that is one of a search."""

    number: int

    def validated(self, step: int, val: Mapping[str, Any]) -> None:
        """The state after step `step`, with its validation scores, is saved.

        Raises:
            Pruned: the run is not worth going on with.
        """


@dataclass
class Session:
    """A run while this process works on it.

    Attributes:
        parts: what it is made of.
        out: its folder.
        state: how far it is.
        trial: whom to tell of each validation, if the run is one of a search.
        clock: started when the session was.
    """

    parts: Parts
    out: Path
    state: State
    trial: Trial | None = None
    clock: Clock = field(init=False)

    def __post_init__(self) -> None:
        self.clock = Clock(self.state)
        if self.trial is not None:
            self.state.trial = self.trial.number


def meta_train(
    session: Session, outer: Outer, logger: Logger, stop: Stop, display: Display
) -> None:
    """The loop, from the step that the state is at to the last, with validation and checkpoints.

    Raises:
        NotFinite: in this step; what was saved before is kept.
        Interrupted: after the state was saved.
    """
    parts, out, state, clock = session.parts, session.out, session.state, session.clock
    config, learner, folder = parts.config, parts.learner, out / "checkpoints"
    steps, batch, episodes = config.steps, config.meta_batch, config.val_episodes
    training, validation = parts.training(), parts.frozen("val")
    headline = parts.spec.objective.headline

    def save() -> None:
        saved = state.state_dict(learner, outer.optimizer)
        checkpoint.save(folder / checkpoint.LAST, saved, keep=checkpoint.PREVIOUS)

    def note(split: str, values: dict[str, float]) -> None:
        metrics.append(out, state.step, split, values, state.metrics)
        logger.log(state.step, {f"{split}/{name}": value for name, value in values.items()})

    try:
        while True:
            step = state.step  # outer steps done
            due = step > 0 and (step % config.eval_every == 0 or step == steps)
            if due and state.validated < step:
                proceed = display.during("validate", episodes, stop)
                scores = evaluate(learner, validation, episodes, proceed)
                val = {name: interval(values) for name, values in scores.items()}
                best = None if state.best is None else state.best[headline.score]["mean"]
                improved = best is None or headline.better(val[headline.score]["mean"], best)
                if improved:
                    state.best = {"best_step": step, **val}
                    state.best_learner = _copy(learner.state_dict())
                note(
                    "val",
                    {**{k: v["mean"] for k, v in val.items()}, "ci95": val[headline.score]["ci95"]},
                )
                state.validated = step
                clock.lap()
                save()
                if improved:  # after the last one, which can make it again
                    checkpoint.save(folder / checkpoint.BEST, state.best_checkpoint())
                display.validated(step, val, state.best["best_step"])
                if session.trial is not None:
                    session.trial.validated(step, val)
            if step == steps:
                return

            numbers = range(step * batch, (step + 1) * batch)
            clock.lap()
            # What a learner draws depends on the number of the task alone: nothing to save.
            found = accumulate(learner, training.tasks(numbers), config.seed)
            scores = {name: float(np.mean([float(s[name]) for s in found])) for name in found[0]}
            try:
                _finite(found, numbers)
                scores["gradient_norm"] = outer.step(step)
            except FloatingPointError as error:
                raise NotFinite(
                    f"step {step + 1}: {error}, the loss {scores.get('loss')}; training episodes "
                    f"{numbers[0]} to {numbers[-1]} of seed {config.seed}"
                ) from error
            clock.lap(in_step=True)

            state.step = step + 1
            state.recent.append(scores)
            display.step(step + 1, scores)
            if (step + 1) % config.log_every == 0 or step + 1 == steps:
                recent, state.recent = state.recent, []
                note("train", {k: float(np.mean([r[k] for r in recent])) for k in scores})
            stop.check()
    except Interrupted:
        save()
        raise


def _finite(scores: Sequence[Mapping[str, Tensor]], numbers: range) -> None:
    """Stop at scores that are not finite, naming the tasks whose they are.

    Raises:
        FloatingPointError: there are some.
    """
    for name in scores[0]:
        wrong = [i for i, own in zip(numbers, scores, strict=True) if not own[name].isfinite()]
        if wrong:
            which = ", ".join(map(str, wrong))
            raise FloatingPointError(f"the {name} of episode {which} is not finite")


def _copy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
