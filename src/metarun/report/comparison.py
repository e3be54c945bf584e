"""Paired comparison of runs that were tested on the same episodes by the same protocol."""

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

# Entries of the protocol that may differ: the name of the data, whose content has a hash; the
# learner, the engine that computes it and what is published for it; and the headline, which
# `compare` checks separately because its title may differ.
FREE = ("data_name", "algo", "backbone", "engine", "published", "headline")
# Entries that may differ, with a note. All others must be equal, including entries that later
# versions add.
NOTED = ("train_data", "train_split_sha256", "data_settings", "augmentation", "precision")
NOTED += ("pretraining",)
NOTED += ("train_on", "steps_from", "scaled", "seen_in_training")
COLUMNS = ("run_a", "run_b", "score", "mean_a", "mean_b")
COLUMNS += ("difference", "ci95", "p", "p_holm", "episodes")


@dataclass(frozen=True)
class Pair:
    """Two tests and their paired difference.

    Attributes:
        difference: the first's score minus the second's.
        p_holm: the p-value with Holm's correction for all pairs of the comparison.
    """

    first: Tested
    second: Tested
    difference: Difference
    p_holm: float

    @property
    def significant(self) -> bool:
        """Whether the corrected p-value is below 0.05."""
        return self.p_holm < 0.05


def compare(tests: Sequence[Tested]) -> tuple[list[Pair], list[str]]:
    """Compare all pairs of tests.

    Returns:
        The pairs, and a note for each entry of the protocol that may and does differ.

    Raises:
        Refused: with a line for each entry of the protocol that must be equal and is not.
    """
    mistakes, notes = [], []
    entries = dict.fromkeys(key for test in tests for key in test.protocol)
    for key in (k for k in entries if k not in FREE):
        values = [(t.folder, t.protocol[key]) for t in tests if key in t.protocol]
        if any(value != values[0][1] for _, value in values):
            each = ", ".join(f"{shown(_short_hash(v))} in {shown(folder)}" for folder, v in values)
            # Without validation, the last checkpoint is tested.
            last = key == "selection" and "last step" in (value for _, value in values)
            (notes if key in NOTED or last else mistakes).append(f"{key}: {each}")
        elif len(values) < len(tests):
            without = ", ".join(shown(t.folder) for t in tests if key not in t.protocol)
            notes.append(f"{key}: not recorded in {without}")
    if len(headlines := {test.headline for test in tests}) > 1:
        scores = sorted(headline.score for headline in headlines)
        mistakes.append(f"test: {' in some and '.join(scores)} in others")
    if mistakes:
        lines = [f"compare: {line}: not the same protocol" for line in mistakes]
        raise Refused(*lines, *_advice(tests))
    pairs = list(combinations(tests, 2))
    differences = [difference(a.values, b.values) for a, b in pairs]
    corrected = holm([d.p for d in differences])
    return [
        Pair(a, b, d, p) for (a, b), d, p in zip(pairs, differences, corrected, strict=True)
    ], notes


def as_csv(pairs: Sequence[Pair]) -> str:
    """CSV with one row per pair; percentages are written as fractions."""
    return csv_text([COLUMNS, *map(_row, pairs)])


def _row(pair: Pair) -> tuple[Any, ...]:
    a, b = pair.first, pair.second
    means = (float(a.values.mean()), float(b.values.mean()))
    return (
        a.folder,
        b.folder,
        a.headline.score,
        *means,
        *pair.difference,
        pair.p_holm,
        len(a.values),
    )


def _short_hash(value: Any) -> Any:
    """The first 12 digits of a hash; other values unchanged."""
    is_hash = isinstance(value, str) and len(value) == 64 and value.isalnum()
    return value[:12] if is_hash else value


def _advice(tests: Sequence[Tested]) -> list[str]:
    """A command that tests a run by the protocol of the first, if keys can change it."""
    keys = {key: key for key in ("split", "ways", "shots", "queries", "episodes", "eval_seed")}
    words = [
        f"{name}={shown(tests[0].protocol[key])}"
        for key, name in {**keys, "batch_norm": "algo.batch_norm"}.items()
        if len({shown(test.protocol[key]) for test in tests}) > 1
    ]
    advice = (
        f"compare: to test all runs by one protocol: metarun evaluate run=RUN_DIR {' '.join(words)}"
    )
    return [advice] if words else []
