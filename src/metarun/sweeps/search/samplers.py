"""How a search proposes values, and which trials it ends: Optuna's samplers and pruners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metarun.config.schema import Seed, explain
from metarun.errors import Refused

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


class Settings(BaseModel):
    """The keys of `hydra.sweeper`; their meanings are in conf/hydra/sweeper/optuna.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trials: Annotated[int, Field(ge=1, le=100_000)]
    sampler: Literal["tpe", "random"]
    pruner: Literal["median", "halving", "none"]
    warmup_trials: Annotated[int, Field(ge=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    seed: Seed

    @classmethod
    def checked(cls, given: Mapping[str, Any]) -> Settings:
        """The settings, each of the right type and range.

        Raises:
            Refused: a line for each that is not.
        """
        try:
            return cls.model_validate(dict(given))
        except ValidationError as error:
            raise Refused(*explain(error, "hydra.sweeper")) from error


def sampler(settings: Settings, number: int) -> BaseSampler:
    """What proposes trial `number`: each has random numbers of its own, in any process."""
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    seed = int(np.random.SeedSequence((settings.seed, number)).generate_state(1)[0])
    if settings.sampler == "random":
        return RandomSampler(seed=seed)
    # Trials that others are at count as bad ones, so that two processes try different places.
    return TPESampler(seed=seed, constant_liar=True)


def pruner(settings: Settings, eval_every: int) -> BasePruner:
    """What decides that a trial is bad enough to be ended.

    Halving is asynchronous (Li et al. 2020): no trial waits for others to reach its step.
    """
    from optuna import pruners

    if settings.pruner == "median":
        return pruners.MedianPruner(settings.warmup_trials, settings.warmup_steps)
    if settings.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(max(eval_every, settings.warmup_steps))
    return pruners.NopPruner()


def behind(settings: Settings) -> str:
    """Why the pruner ends a trial, for the screen."""
    if settings.pruner == "halving":
        return "not among the best quarter of the trials"
    return "behind half of the earlier trials"
