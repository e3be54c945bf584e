"""Sine waves: regression tasks that are drawn, not stored."""

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
    """One task, y = A·sin(x − φ), and the points that are drawn from it."""

    amplitude: np.ndarray  # ()
    phase: np.ndarray  # ()
    x: np.ndarray  # (K+Q, 1), support first


class Waves:
    """The distribution over tasks; training, validation and test draw from it by other streams.

    Attributes:
        facts: `None`: no classes.
        outputs: size of a target.
        domain: where x lies.
    """

    facts: None = None
    objective = REGRESSION
    shape = (1,)
    outputs = 1
    domain = INPUT
    sha256 = hashlib.sha256(f"sinusoid {AMPLITUDE} {PHASE} {INPUT}".encode()).hexdigest()

    def pick(self, rng: np.random.Generator, ways: int, shots: int, queries: int) -> Wave:
        """Draw a wave, K support points and Q query points of it; `ways` is 1."""
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
        """The function that a learner should find, at any x."""
        return wave.amplitude * np.sin(x - wave.phase)


class Sinusoid:
    """Sine waves of amplitude 0.1 to 5 and phase 0 to π, seen at points −5 to 5.

    Finn et al. 2017, section 5.1. The sign of the phase is that of the authors' code, x − φ; the
    paper does not say. All splits have the same distribution: a test wave is new as any other is.
    """

    def facts(self) -> dict[str, Facts | None]:
        """Nothing to be said: there are no classes."""
        return dict.fromkeys(SPLITS)

    def load(self) -> dict[str, Waves]:
        """The splits `train`, `val` and `test`."""
        return {split: Waves() for split in SPLITS}
