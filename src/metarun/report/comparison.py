"""Tested runs side by side: only where they were tested on the same episodes in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from metarun.errors import Refused
from metarun.report.tested import Tested
from metarun.report.untrusted import shown
from metarun.runs.results import csv_text
from metarun.stats import Difference, difference, holm

# What is compared; and the headline, of which the title may differ.
FREE = ("algo", "backbone", "headline")
# What may differ too, as learners may learn from other data, but a reader should know. Any other
# entry of the protocol has to be the same, those that later versions add included.
NOTED = ("train_data", "train_split_sha256", "data_settings", "augmentation", "precision")
COLUMNS = ("run_a", "run_b", "score", "mean_a", "mean_b")
COLUMNS += ("difference", "ci95", "p", "p_holm", "episodes")


@dataclass(frozen=True)
class Pair:
    """Two tests: `found` is the first's score minus the second's."""

    first: Tested
    second: Tested
    found: Difference
    p_holm: float

    @property
    def told_apart(self) -> bool:
        return self.p_holm < 0.05


def compare(tests: Sequence[Tested]) -> tuple[list[Pair], list[str]]:
    """All pairs, with their paired differences, and what a reader should know beside them.

    Raises:
        Refused: a line for each entry in which the protocols differ.
    """
    mistakes, notes = [], []
    entries = dict.fromkeys(key for test in tests for key in test.protocol)
    for key in (k for k in entries if k not in FREE):
        held = [(t.folder, t.protocol[key]) for t in tests if key in t.protocol]
        if any(value != held[0][1] for _, value in held):
            each = ", ".join(f"{shown(_beginning(value))} in {shown(name)}" for name, value in held)
            (notes if key in NOTED else mistakes).append(f"{key}: {each}")
        elif len(held) < len(tests):
            without = ", ".join(shown(t.folder) for t in tests if key not in t.protocol)
            notes.append(f"{key}: not written down in {without}")
    if len(kinds := {test.headline for test in tests}) > 1:
        mistakes.append(f"test: {' in some and '.join(sorted(h.score for h in kinds))} in others")
    if mistakes:
        lines = [f"compare: {line}: not the same protocol" for line in mistakes]
        raise Refused(*lines, *_advice(tests))
    both = list(combinations(tests, 2))
    found = [difference(a.values, b.values) for a, b in both]
    corrected = holm([one.p for one in found])
    return [Pair(*ab, one, p) for ab, one, p in zip(both, found, corrected, strict=True)], notes


def as_csv(pairs: Sequence[Pair]) -> str:
    """A row for each pair; figures as fractions."""
    return csv_text([COLUMNS, *map(_row, pairs)])


def _row(pair: Pair) -> tuple[Any, ...]:
    a, b = pair.first, pair.second
    means = (float(a.values.mean()), float(b.values.mean()))
    return (a.folder, b.folder, a.headline.score, *means, *pair.found, pair.p_holm, len(a.values))


def _beginning(value: Any) -> Any:
    """The beginning of a hash is enough to tell two apart."""
    is_hash = isinstance(value, str) and len(value) == 64 and value.isalnum()
    return value[:12] if is_hash else value


def _advice(tests: Sequence[Tested]) -> list[str]:
    """How to test one as the other was, if it is a matter of keys."""
    keys = {key: key for key in ("split", "ways", "shots", "queries", "episodes", "eval_seed")}
    words = [
        f"{name}={shown(tests[0].protocol[key])}"
        for key, name in {**keys, "batch_norm": "algo.batch_norm"}.items()
        if len({shown(test.protocol[key]) for test in tests}) > 1
    ]
    advice = f"compare: test them alike: metarun evaluate run=RUN_DIR {' '.join(words)}"
    return [advice] if words else []
