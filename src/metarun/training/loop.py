"""The loop: episodes, meta-gradient, outer step; validation and checkpoints when they are due."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from metarun.errors import Interrupted, RunFailed
from metarun.loggers import Logger
from metarun.runs import checkpoint, metrics
from metarun.training.display import Display
from metarun.training.evaluation import better, evaluate, headline, interval
from metarun.training.interruption import Stop
from metarun.training.optimizer import Outer
from metarun.training.parts import Parts


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


class Clock:
    """Adds the time since its last lap to keys of the state, so that it survives a resume."""

    def __init__(self, state: dict[str, Any]) -> None:
        self.state, self.last = state, time.monotonic()

    def lap(self, *keys: str) -> None:
        now = time.monotonic()
        for key in keys:
            self.state[key] += now - self.last
        self.last = now


def meta_train(
    parts: Parts,
    out: Path,
    state: dict[str, Any],
    outer: Outer,
    logger: Logger,
    clock: Clock,
    stop: Stop,
    display: Display,
    trial: Trial | None = None,
) -> None:
    """The loop, from `state["step"]` to the last step, with validation and checkpoints.

    Raises:
        NotFinite: in this step; what was saved before is kept.
        Interrupted: after the state was saved.
    """
    config, learner, folder = parts.config, parts.learner, out / "checkpoints"
    steps, batch, episodes = config.steps, config.meta_batch, config.val_episodes
    training, validation = parts.training(), parts.frozen("val")

    def save() -> None:
        weights = {"learner": learner.state_dict(), "optimizer": outer.optimizer.state_dict()}
        checkpoint.save(
            folder / checkpoint.LAST,
            {**state, **weights, "config": config.model_dump()},
            keep=checkpoint.PREVIOUS,
        )

    def note(split: str, values: dict[str, float]) -> None:
        metrics.append(out, state["step"], split, values, state["metrics"])
        logger.log(state["step"], {f"{split}/{name}": value for name, value in values.items()})

    try:
        while True:
            step = state["step"]  # outer steps done
            due = step > 0 and (step % config.eval_every == 0 or step == steps)
            if due and state["validated"] < step:
                proceed = display.during("validate", episodes, stop)
                scores = evaluate(learner, validation, episodes, proceed)
                val = {name: interval(values) for name, values in scores.items()}
                improved = state["best"] is None or better(val, state["best"])
                if improved:
                    state["best"] = {"best_step": step, **val}
                    state["best_learner"] = _copy(learner.state_dict())
                note(
                    "val", {**{k: v["mean"] for k, v in val.items()}, "ci95": headline(val)["ci95"]}
                )
                state["validated"] = step
                clock.lap("wall_seconds")
                save()
                if improved:  # after the last one, which can make it again
                    best = checkpoint.best_of({**state, "config": config.model_dump()})
                    checkpoint.save(folder / checkpoint.BEST, best)
                display.validated(step, val, state["best"]["best_step"])
                if trial is not None:
                    trial.validated(step, val)
            if step == steps:
                return

            # What a learner draws in a step depends on the step alone: nothing to save.
            torch.manual_seed(number_for(config.seed, step))
            numbers = range(step * batch, (step + 1) * batch)
            clock.lap("wall_seconds")
            tasks = training.batch(numbers)
            found = learner.accumulate(tasks)
            scores = {name: float(v.mean()) for name, v in found.items()}
            try:
                _finite(found, numbers)
                scores["gradient_norm"] = outer.step(step)
            except FloatingPointError as error:
                raise NotFinite(
                    f"step {step + 1}: {error}, the loss {scores.get('loss')}; training episodes "
                    f"{numbers[0]} to {numbers[-1]} of seed {config.seed}"
                ) from error
            clock.lap("wall_seconds", "step_seconds")

            state["step"] = step + 1
            state["recent"].append(scores)
            display.step(step + 1, scores)
            if (step + 1) % config.log_every == 0 or step + 1 == steps:
                recent, state["recent"] = state["recent"], []
                note("train", {k: float(np.mean([r[k] for r in recent])) for k in scores})
            stop.check()
    except Interrupted:
        save()
        raise


def number_for(seed: int, step: int) -> int:
    """The number that seeds torch in outer step `step`."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])


def _finite(scores: dict[str, Tensor], numbers: range) -> None:
    """Stop at scores, each (T), that are not finite, naming the episodes whose they are.

    Raises:
        FloatingPointError: there are some.
    """
    for name, values in scores.items():
        wrong = ~torch.isfinite(values.detach().cpu())
        if wrong.any():
            if len(wrong) != len(numbers):
                raise FloatingPointError(f"the {name} is not finite")
            which = [str(i) for i, bad in zip(numbers, wrong.tolist(), strict=True) if bad]
            raise FloatingPointError(f"the {name} of episode {', '.join(which)} is not finite")


def _copy(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().clone() for name, tensor in weights.items()}
