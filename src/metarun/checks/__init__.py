"""Audits of the data, the episodes and the learner of a run.

The fast checks of every start are in `metarun.data.duplicates`.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch

from metarun.checks.copies import find_copies
from metarun.checks.finding import Finding
from metarun.checks.gradient import meta_gradient
from metarun.checks.labels import label_permutation, relabelling
from metarun.checks.normalisation import drift, transductive_gap
from metarun.checks.overlap import class_overlap, support_query_overlap
from metarun.errors import Refused
from metarun.training.parts import Parts

__all__ = ["EPISODES", "Finding", "audit", "insist"]

EPISODES = 100


def audit(parts: Parts, episodes: int = EPISODES) -> Iterator[Finding]:
    """Run all audits. The learner and the random state on the CPU are left unchanged.

    Args:
        episodes: number of test episodes that the learner is evaluated on.

    Yields:
        The finding of each audit as soon as it ends.
    """
    training, test, learner = parts.training(), parts.frozen("test"), parts.learner
    with torch.random.fork_rng(devices=[]):
        yield label_permutation(training, "train")
        yield label_permutation(test, "test")
        yield from class_overlap(parts.splits)
        yield from find_copies(parts.splits)
        yield support_query_overlap(training, "train")
        yield support_query_overlap(test, "test")
        yield drift(learner, test, episodes)
        supports_both = "batch_norm" in parts.config.algo
        yield transductive_gap(learner, test, episodes, supports_both)
        yield relabelling(learner, test, episodes)
        yield meta_gradient(learner, training)


def insist(parts: Parts) -> None:
    """Run all audits before a training.

    Raises:
        Refused: with a line for each audit that failed.
    """
    failed = [f for f in audit(parts, 16) if f.status == "failed"]
    if failed:
        raise Refused(*(f"audit=full: {f.name}: {f.text}" for f in failed))
