"""What a search varies: ranges typed as Hydra's sweeps, each a dimension."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
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
from metarun.errors import Refused

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution
    from optuna.trial import Trial

CHOSEN = "hydra/sweeper=optuna"
DIGITS = 6  # of a number between two: more would not be read, and make no difference
LIKE = "'algo.inner_lr=tag(log,interval(0.01,1))'"
OTHER_TASKS = (  # a figure on other episodes, or on fewer, is another figure
    *("ways", "shots", "queries", "eval_seed", "val_episodes", "data", "data_home"),
    *("experiment", "debug", "choices"),
)


@dataclass(frozen=True)
class Dimension:
    """One key of a search: between two numbers, or one of some choices.

    Attributes:
        key: as it is typed, with a `+` that may stand before it.
        low, high: the ends, both of them values; `None` for choices.
        step: between values; `None` where any number will do.
        choices: as they are typed.
    """

    key: str
    low: float | int | None = None
    high: float | int | None = None
    step: float | int | None = None
    log: bool = False
    choices: tuple[str, ...] = ()

    def suggest(self, trial: Trial) -> Any:
        """A value of the trial, which has one or gets one."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if isinstance(self.low, int):
            step = self.step or 1
            return trial.suggest_int(self.key, self.low, self.high, step=step, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)

    def distribution(self) -> BaseDistribution:
        """What Optuna records of the dimension with each value."""
        from optuna import distributions as kinds

        if self.choices:
            return kinds.CategoricalDistribution(self.choices)
        if isinstance(self.low, int):
            return kinds.IntDistribution(self.low, self.high, self.log, self.step or 1)
        return kinds.FloatDistribution(self.low, self.high, self.log, self.step)

    def word(self, value: Any) -> str:
        """The override that sets the key to `value`."""
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
    """What was typed for a search, with dimensions in the places of ranges."""

    words: tuple[str | Dimension, ...]

    @property
    def dimensions(self) -> list[Dimension]:
        return [word for word in self.words if isinstance(word, Dimension)]

    def typed(self, values: Mapping[str, Any]) -> list[str]:
        """The words of one trial, which could be typed as they are."""
        return [w if isinstance(w, str) else w.word(values[w.key]) for w in self.words]

    def plain(self) -> list[str | dict[str, Any]]:
        """As JSON has it; `Space.of` reads it back."""
        return [word if isinstance(word, str) else asdict(word) for word in self.words]

    @classmethod
    def of(cls, words: Iterable[str | dict[str, Any]]) -> Space:
        made = (
            w if isinstance(w, str) else Dimension(**{**w, "choices": tuple(w["choices"])})
            for w in words
        )
        return cls(tuple(made))


def space(overrides: Sequence[Override], whole: Iterable[str] = ()) -> Space:
    """The search space of what was typed.

    Args:
        whole: keys whose default is a whole number: an interval between whole numbers is one of
            whole numbers there.

    Raises:
        Refused: a line for each range that a search cannot use, and where there is none.
    """
    words: list[str | Dimension] = []
    mistakes: list[str] = []
    for place, o in enumerate(overrides, 1):
        if not o.is_sweep_override():
            words.append(str(o.input_line))
            continue
        try:
            word = _dimension(o, str(o.key_or_group) in whole)
        except Refused as refused:
            mistakes += refused.mistakes
            continue
        if isinstance(word, Dimension):
            mistakes += _misplaced(str(o.key_or_group))
            if any(later.key_or_group == o.key_or_group for later in overrides[place:]):
                mistakes.append(f"{o.key_or_group}: has a range, and is typed again; type one")
        words.append(word)
    found = Space(tuple(words))
    if not found.dimensions and not mistakes:
        mistakes.append(f"{CHOSEN}: nothing is searched over; give a key a range, like {LIKE}")
    if mistakes:
        raise Refused(*dict.fromkeys(mistakes))
    return found


def _dimension(o: Override, whole: bool) -> str | Dimension:
    line, key, value = str(o.input_line), o.get_key_element(), o.value()
    tags = set(getattr(value, "tags", ()))
    if tags - {"log"}:
        raise Refused(f"{line}: tag {', '.join(sorted(tags - {'log'}))}: a search knows log only")
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
        raise Refused(f"{line}: a search does not read this; write the choices out: {key}=A,B")
    low, high = value.start, value.end
    if not (low < high and math.isfinite(low) and math.isfinite(high)):
        raise Refused(f"{line}: should run from a number to a larger one")
    if tags and low <= 0:
        raise Refused(f"{line}: on a log scale it should begin above 0")
    if whole and float(low).is_integer() and float(high).is_integer():
        low, high = int(low), int(high)
    return Dimension(key, low, high, log=bool(tags))


def _range(o: Override, key: str, value: RangeSweep) -> str | Dimension:
    """Its values, as Hydra counts them: the end is none of them."""
    count = length(o)
    if count < 1:
        raise Refused(f"{o.input_line}: has no value in it")
    numbers = (value.start, value.stop, value.step)
    start, _, step = (n if isinstance(n, int) else Decimal(repr(n)) for n in numbers)
    ends = sorted([start, start + (count - 1) * step])
    kind = int if all(isinstance(n, int) for n in numbers) else float
    if count == 1:
        return f"{key}={kind(ends[0])!r}"
    return Dimension(key, kind(ends[0]), kind(ends[1]), kind(abs(step)))


def _misplaced(key: str) -> list[str]:
    """Why the best over `key` would not be the best."""
    if key == "seed":
        why = "the best of several seeds is the luckiest; sweep over them with the best found: "
        return [f"seed: {why}metarun -m experiment=best --config-dir SWEEP_DIR seed=0,1,2"]
    if key.partition(".")[0] in OTHER_TASKS:
        why = "trials would be validated on different tasks, and their figures not comparable"
        return [f"{key}: {why}; without {CHOSEN} it is a sweep"]
    if key == "algo.batch_norm":
        why = "is part of the protocol, and moves the figure without a better learner"
        return [f"{key}: {why}; without {CHOSEN} it is a sweep"]
    if key == "eval_every":
        return [f"{key}: who validates more often has more tries at a best; choose one for all"]
    return []
