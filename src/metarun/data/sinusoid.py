"""Sine waves: regression tasks generated on the fly."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from metarun.data.class_splits import SPLITS
from metarun.data.classes import Facts
from metarun.tasks.objectives import REGRESSION

AMPLITUDE, PHASE, INPUT = (0.1, 5.0), (0.0, np.pi), (-5.0, 5.0)


class Wave(NamedTuple):
    """One task, y = A·sin(x − φ), with its sampled points."""

    amplitude: np.ndarray  # ()
    phase: np.ndarray  # ()
    x: np.ndarray  # (K+Q, 1), support first


class Waves:
    """The distribution over tasks, the same for training, validation and test.

    Attributes:
        facts: `None`, as there are no classes.
        outputs: size of a target.
        domain: interval of x.
    """

    facts: None = None
    objective = REGRESSION
    shape = (1,)
    outputs = 1
    domain = INPUT
    sha256 = hashlib.sha256(f"sinusoid {AMPLITUDE} {PHASE} {INPUT}".encode()).hexdigest()

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Wave:
        """Draw a wave with K support points and Q query points; `ways` is 1."""
        amplitude, phase = rng.uniform(*AMPLITUDE), rng.uniform(*PHASE)
        x = rng.uniform(*INPUT, (shots + queries, 1))
        return Wave(np.asarray(amplitude), np.asarray(phase), x)

    def gather(
        self, picks: Sequence[Wave], shots: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Support x and y (T, K, 1), query x and y (T, Q, 1)."""
        x = np.stack([wave.x for wave in picks])
        y = np.stack([self.truth(wave, wave.x) for wave in picks])
        return x[:, :shots], y[:, :shots], x[:, shots:], y[:, shots:]

    def truth(self, wave: Wave, x: np.ndarray) -> np.ndarray:
        """The target function at `x`."""
        return wave.amplitude * np.sin(x - wave.phase)


class Sinusoid:
    """Sine waves with amplitude in [0.1, 5], phase in [0, π] and x in [−5, 5].

    Finn et al. 2017, section 5.1. The paper does not state the sign of the phase; x − φ is taken
    from the authors' code. All splits have the same distribution.
    """

    def facts(self) -> dict[str, Facts | None]:
        """`None` for each split, as there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, Waves]:
        """The splits `train`, `val` and `test`."""
        return {split: Waves() for split in SPLITS}
