"""Scores of prepared items by a learner that is adapted to a support."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from metarun.algorithms import Learner
from metarun.errors import Refused, RunFailed
from metarun.tasks.objectives import CLASSIFICATION
from metarun.tasks.task import Examples, Task
from metarun.tasks.tensors import as_tensor
from metarun.training.gradient import adapt

SMALLEST, LARGEST = 64, 512  # items of a forward pass
MAX_LEFT_OUT = 100  # items of a support

Scores = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Classifier:
    """A learner that labels items by a support of any size.

    Attributes:
        learner: a classifier in evaluation mode.
        device, dtype: of its inputs.
        algo: its name, for messages.
        trained_batch_norm: the statistics that it was trained and tested with.
        shots: items of each class that a support should have; `None`: any number.
        untrained: there are no training tasks; a support stands for them where the learner computes
            statistics of its features.
    """

    learner: Learner
    device: torch.device
    dtype: torch.dtype
    algo: str
    trained_batch_norm: str
    shots: int | None = None
    untrained: bool = False

    def adapt(self, items: np.ndarray, labels: np.ndarray) -> Scores:
        """Adapt the learner to a support.

        Args:
            items: (n, *shape) prepared items, as a data set stores them.
            labels: (n) numbers 0 … N − 1, each of which occurs.

        Returns:
            A function from prepared items (m, *shape) to their scores (m, N), in float64.
        """
        x, y = as_tensor(items, self.device, self.dtype), torch.from_numpy(labels).to(self.device)
        support = Examples(x, y, CLASSIFICATION, int(labels.max()) + 1)
        if self.untrained:
            with torch.no_grad():
                self.learner.see_training_tasks([Task(support, support)])
        (model,) = adapt(self.learner, [Task(support, support)])

        @torch.no_grad()
        def scores(items: np.ndarray) -> np.ndarray:
            found = model(as_tensor(items, self.device, self.dtype)).double().cpu().numpy()
            if not np.isfinite(found).all():
                raise RunFailed("the scores of some items are not finite numbers")
            return found

        return scores

    def left_out(
        self, items: np.ndarray, labels: np.ndarray, proceed: Callable[[int], None]
    ) -> tuple[np.ndarray, np.ndarray]:
        """The scores of support items, from the learner adapted to a support without them.

        In each of the `rounds`, one item of each class is left out, in a random order that is
        always the same. If only one item were left out, its class would be the only one with an
        item less, and learners that prefer larger classes would seem worse than they are. Each
        class needs 2 items at least.

        Args:
            items, labels: as in `adapt`.
            proceed: called with the number of finished rounds.

        Returns:
            Scores (n, N) and labels (n) of the items, each of which is left out once.
        """
        rng, rows, of_rows = np.random.default_rng(0), [], []
        classes = [rng.permutation(np.flatnonzero(labels == c)) for c in range(labels.max() + 1)]
        for number in range(rounds(labels)):
            out = [some[number % len(some)] for some in classes]
            others = np.setdiff1d(np.arange(len(items)), out)
            new = [some[number] for some in classes if number < len(some)]
            rows.append(self.adapt(items[others], labels[others])(items[new]))
            of_rows.append(labels[new])
            proceed(number + 1)
        return np.concatenate(rows), np.concatenate(of_rows)


def rounds(labels: np.ndarray) -> int:
    """Rounds of `Classifier.left_out`: each item is left out, or about `MAX_LEFT_OUT` of them."""
    counts = np.bincount(labels)
    return int(min(counts.max(), max(1, MAX_LEFT_OUT // len(counts))))


def chunk_size(support: int) -> int:
    """Items of a forward pass; many learners compute the support again in each."""
    return min(max(SMALLEST, support), LARGEST)


def check_independent(scores: Scores, items: np.ndarray, algo: str) -> None:
    """Check that the scores of an item do not depend on the items that are scored beside it.

    Raises:
        Refused: they do.
    """
    few = items[:3]
    if not np.allclose(scores(few)[:1], scores(few[:1]), rtol=1e-2, atol=1e-2):
        raise Refused(
            f"algo={algo}: its scores for an item depend on the other items, so the label of an "
            "item would depend on the rest of the query; predict needs an inductive learner"
        )
