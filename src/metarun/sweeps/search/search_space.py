"""The search space: the ranges in the overrides of a search, written as Hydra sweeps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import (
    ChoiceSweep,
    IntervalSweep,
    Override,
    RangeSweep,
    Transformer,
)

from metarun.config.overrides import length
from metarun.errors import Mistakes, Refused

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

SEARCH = "hydra/sweeper=optuna"  # the override that turns a sweep into a search
DIGITS = 6  # significant digits of a value from an interval; more make no difference
EXAMPLE = "'algo.inner_lr=tag(log,interval(0.01,1))'"
TASK_KEYS = (  # change the validation episodes, so scores would not be comparable
    "ways",
    "shots",
    "queries",
    "eval_seed",
    "val_episodes",
    "data",
    "data_home",
    "experiment",
    "debug",
    "choices",
)


@dataclass(frozen=True)
class Dimension:
    """A key that is searched over: an interval of numbers, or a set of choices.

    Attributes:
        key: the key as typed, including a leading `+`.
        low, high: the smallest and the largest value, both included; `None` for choices.
        step: the distance between values; `None` for a continuous interval.
        log: whether values are sampled on a log scale.
        choices: the choices as typed.
    """

    key: str
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    log: bool = False
    choices: tuple[str, ...] = ()

    def distribution(self) -> BaseDistribution:
        """Return the Optuna distribution of this dimension."""
        from optuna import distributions

        if self.choices:
            return distributions.CategoricalDistribution(self.choices)
        if isinstance(self.low, int):
            return distributions.IntDistribution(self.low, self.high, self.log, self.step or 1)
        return distributions.FloatDistribution(self.low, self.high, self.log, self.step)

    def suggest(self, trial: Trial) -> Any:
        """Return the value of this dimension that an Optuna trial proposes, or already has."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if isinstance(self.low, int):
            step = self.step or 1
            return trial.suggest_int(self.key, self.low, self.high, step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def override_for(self, value: Any) -> str:
        """Return the override that sets the key to `value`."""
        if self.choices:
            return f"{self.key}={value}"
        if isinstance(self.low, float) and self.step is not None:  # 0.3, not 0.30000000000000004
            low, step = Decimal(repr(self.low)), Decimal(repr(self.step))
            value = float(low + round((value - self.low) / self.step) * step)
        elif isinstance(self.low, float) and self.high - self.low > 1e-3 * abs(self.high):
            value = min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)
        return f"{self.key}={value!r}"


@dataclass(frozen=True)
class Space:
    """The overrides of a search in the order typed; each range is a `Dimension`."""

    overrides: tuple[str | Dimension, ...]

    @property
    def dimensions(self) -> list[Dimension]:
        """The keys that are searched over."""
        return [o for o in self.overrides if isinstance(o, Dimension)]

    def overrides_for(self, values: Mapping[str, Any]) -> list[str]:
        """Return the overrides of a trial with these values, by key."""
        return [o if isinstance(o, str) else o.override_for(values[o.key]) for o in self.overrides]


def read_space(parsed: Sequence[Override], integer_keys: Iterable[str] = ()) -> Space:
    """Return the search space of the overrides.

    Args:
        parsed: the overrides of the search.
        integer_keys: keys with an integer default; an interval between integers holds integers.

    Raises:
        Refused: a range cannot be used in a search (a line for each), or there is no range.
    """
    overrides: list[str | Dimension] = []
    mistakes = Mistakes()
    for o in parsed:
        override: Any = str(o.input_line)
        if o.is_sweep_override():
            override = mistakes.catch(_dimension, o, str(o.key_or_group) in integer_keys)
        if isinstance(override, Dimension):
            mistakes.lines += _unsearchable(str(o.key_or_group))
        overrides.append(override)
    mistakes.settle()
    space = Space(tuple(overrides))
    if not space.dimensions:
        raise Refused(f"{SEARCH}: nothing is searched over; give a key a range, like {EXAMPLE}")
    return space


def _dimension(o: Override, is_integer: bool) -> str | Dimension:
    """Return the dimension of a range, or a plain override if the range has one value."""
    line, key, value = str(o.input_line), o.get_key_element(), o.value()
    tags = set(getattr(value, "tags", ()))
    if tags - {"log"}:
        raise Refused(f"{line}: tag {', '.join(sorted(tags - {'log'}))}: the only tag is log")
    if isinstance(value, ChoiceSweep):
        if tags:
            raise Refused(f"{line}: log is for an interval between two numbers")
        choices = tuple(dict.fromkeys(map(Transformer.str, value.list)))
        return Dimension(key, choices=choices) if len(choices) > 1 else f"{key}={choices[0]}"
    if isinstance(value, RangeSweep):
        if tags:
            raise Refused(f"{line}: log is for an interval; write tag(log,int(interval(…))) here")
        return _range(o, key, value)
    if not isinstance(value, IntervalSweep):
        raise Refused(f"{line}: is not supported in a search; list the choices: {key}=A,B")
    low, high = value.start, value.end
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise Refused(f"{line}: should run from a number to a larger one")
    if tags and low <= 0:
        raise Refused(f"{line}: on a log scale it should begin above 0")
    if is_integer and float(low).is_integer() and float(high).is_integer():
        low, high = int(low), int(high)
    return Dimension(key, low, high, log=bool(tags))


def _range(o: Override, key: str, value: RangeSweep) -> str | Dimension:
    """Return the dimension of `range(…)`, whose end is excluded, as in Hydra."""
    count = length(o)
    if count < 1:
        raise Refused(f"{o.input_line}: has no value in it")
    numbers = (value.start, value.stop, value.step)
    start, _, step = (n if isinstance(n, int) else Decimal(repr(n)) for n in numbers)
    ends = sorted([start, start + (count - 1) * step])
    number_type = int if all(isinstance(n, int) for n in numbers) else float
    if count == 1:
        return f"{key}={number_type(ends[0])!r}"
    return Dimension(key, number_type(ends[0]), number_type(ends[1]), number_type(abs(step)))


def _unsearchable(key: str) -> list[str]:
    """Return a line if the best value of `key` would not give a better learner."""
    sweep = f"leave out {SEARCH} to sweep over it"
    if key == "seed":
        why = "the best of several seeds is the luckiest; sweep over seeds with the best settings: "
        return [f"seed: {why}metarun -m experiment=best --config-dir SWEEP_DIR seed=0,1,2"]
    if key.partition(".")[0] in TASK_KEYS:
        why = "trials would be validated on different tasks, so their scores are not comparable"
        return [f"{key}: {why}; {sweep}"]
    if key == "algo.batch_norm":
        why = "is part of the protocol, and changes the score without a better learner"
        return [f"{key}: {why}; {sweep}"]
    if key == "eval_every":
        why = "a trial that validates more often takes its best score from more validations"
        return [f"{key}: {why}; set one value for all trials"]
    return []
