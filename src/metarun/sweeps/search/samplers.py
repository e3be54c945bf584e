"""The settings of a search, and the Optuna samplers and pruners that they select."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from metarun.config.explanation import explain
from metarun.config.schema import Seed
from metarun.errors import Refused

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler


class Settings(BaseModel):
    """The keys of `hydra.sweeper`; conf/hydra/sweeper/optuna.yaml describes them."""

    model_config = ConfigDict(extra="forbid", strict=True)

    trials: Annotated[int, Field(ge=1, le=100_000)]
    sampler: Literal["tpe", "random"]
    pruner: Literal["median", "halving", "none"]
    warmup_trials: Annotated[int, Field(ge=0)]
    warmup_steps: Annotated[int, Field(ge=0)]
    seed: Seed

    @classmethod
    def checked(cls, keys: Mapping[str, Any]) -> Settings:
        """Check the type and the range of each key, and return the settings.

        Raises:
            Refused: with a line for each invalid key.
        """
        try:
            return cls.model_validate(dict(keys))
        except ValidationError as error:
            raise Refused(*explain(error, "hydra.sweeper")) from error


def sampler(settings: Settings, number: int) -> BaseSampler:
    """Return the sampler of trial `number`, whose seed does not depend on the process."""
    import numpy as np
    from optuna.samplers import RandomSampler, TPESampler

    seed = int(np.random.SeedSequence((settings.seed, number)).generate_state(1)[0])
    if settings.sampler == "random":
        return RandomSampler(seed=seed)
    # Running trials count as bad ones, so that parallel processes try different values.
    return TPESampler(seed=seed, constant_liar=True)


def pruner(settings: Settings, eval_every: int) -> BasePruner:
    """Return the pruner, which decides whether a trial ends early.

    Halving is asynchronous (Li et al., 2020): no trial waits for others to reach its step.
    """
    from optuna import pruners

    if settings.pruner == "median":
        return pruners.MedianPruner(settings.warmup_trials, settings.warmup_steps)
    if settings.pruner == "halving":
        return pruners.SuccessiveHalvingPruner(max(eval_every, settings.warmup_steps))
    return pruners.NopPruner()


def prune_reason(settings: Settings) -> str:
    """Return the reason why the pruner ends a trial, for the screen."""
    if settings.pruner == "halving":
        return "not among the best quarter of the trials"
    return "behind half of the earlier trials"
