"""Functions to minimise, drawn from a family: the tasks of learned optimizers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from pydantic import PositiveInt

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.data.functions import FAMILIES, PENALTY, Arrays, Family
from metarun.tasks.optimizee import Optimizee
from metarun.tasks.task import Spec, Task


@dataclass(frozen=True)
class Functions:
    """A `TaskSource` of the functions of a family; the splits have the same law.

    Attributes:
        name: of the family.
        horizon: steps of an optimizer.
        device, dtype: of the data of a function.
    """

    name: str
    horizon: int
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    facts = None

    @property
    def family(self) -> Family:
        return FAMILIES[self.name]

    @property
    def sha256(self) -> str:
        return hashlib.sha256(f"objectives 1 {self.name} {PENALTY}".encode()).hexdigest()

    @property
    def sizes(self) -> tuple[int]:
        return (self.horizon,)

    @property
    def spec(self) -> Spec:
        size, objective = self.family.dimension, self.family.objective
        return Spec((size,), size, objective, self.horizon, kind="functions")

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Functions:
        return replace(self, device=device, dtype=dtype)

    def choose(self, rng: np.random.Generator) -> Arrays:
        """The starting point and the data of a function."""
        start = rng.normal(0, self.family.start, self.family.dimension)
        return (start, *self.family.draw(rng))

    def build(self, choices: Arrays, number: int) -> Task:
        return self.build_many([choices], [number])[0]

    def build_many(self, choices: Sequence[Arrays], numbers: Sequence[int]) -> list[Task]:
        arrays = (
            torch.from_numpy(np.stack(a)).to(self.device, self.dtype)
            for a in zip(*choices, strict=True)
        )
        family, tasks = self.family, []
        for number, start, *data in zip(numbers, *arrays, strict=True):
            f = Optimizee(family.value, tuple(data), start, self.horizon, family.objective)
            tasks.append(Task(f, f, number))
        return tasks

    def best_possible(self, choices: Arrays) -> dict[str, float]:
        """The least value of a function, where it is known: no loss after a step is smaller."""
        if self.family.minimum is None:
            return {}
        least = self.family.minimum(*choices[1:])
        return {"loss": least, "final_loss": least}


class Objectives:
    """Random functions to minimise. Support and query of a task are the same function.

    Args:
        family: `quadratic`: ‖Wx − y‖² in 10 dimensions (Andrychowicz et al. 2016). `logistic`,
            `robust`, `network`: logistic regression and robust linear regression with 4 numbers,
            and a network of two layers with 12, on random data (Li & Malik 2017).
        horizon: steps of an optimizer. Default: those of the paper, 100 for `quadratic`, else 40.
    """

    def __init__(
        self,
        *,
        family: Literal["quadratic", "logistic", "robust", "network"] = "quadratic",
        horizon: PositiveInt | None = None,
    ) -> None:
        self.family, self.horizon = family, horizon or FAMILIES[family].horizon

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, Functions]:
        """The splits `train`, `val` and `test`."""
        return dict.fromkeys(SPLITS, Functions(self.family, self.horizon))
