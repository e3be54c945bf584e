"""Learners, one a file. They know nothing of files, loggers or Hydra."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn

from metarun.tasks.sampler import Episodes


class Task(NamedTuple):
    """What a learner is told of the tasks that it will be trained on.

    Attributes:
        outputs: numbers that a head gives for each item: the ways, or the size of a target.
        shots: support items a class.
        classes: meta-train classes in all; 0 where tasks are not made of classes.
    """

    outputs: int
    shots: int = 1
    classes: int = 0


class Algorithm(nn.Module):
    """A few-shot learner: two verbs, so that every family fits the same loop.

    Made as `Learner(backbone, task, **keys of its YAML file)`.

    Attributes:
        per_label_head: the learner has weights of its own for each label, so that it can only be
            tested with as many ways as it was trained with.
        regresses: the learner can also predict numbers: y may hold targets (T, N·K, *target)
            instead of labels, with N = 1.
        minimises: the score of `accumulate` whose mean over tasks `.grad` is the slope of; `None`
            where it is the slope of none by design. `metarun audit` holds the learner to it.
        batch_norm: whose statistics normalise a query in evaluation: `transductive` (those of the
            query batch) or `inductive` (a prediction depends on the support and that query only).
    """

    per_label_head: bool = False
    regresses: bool = False
    minimises: str | None = "loss"
    batch_norm: str = "inductive"

    def accumulate(self, episodes: Episodes) -> dict[str, Tensor]:
        """Add the meta-gradient of the mean loss over the T tasks to `.grad`.

        Returns:
            The scores of each task, each (T), as `metarun.tasks.objectives.score` gives them.
        """
        raise NotImplementedError(f"{type(self).__name__}.accumulate")

    def predict(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Query outputs (T, N·Q, N) after adapting to the support alone.

        The learner's own parameters and buffers stay as they were.

        Args:
            support_x: (T, N·K, *shape).
            support_y: (T, N·K) labels.
            query_x: (T, N·Q, *shape).
        """
        raise NotImplementedError(f"{type(self).__name__}.predict")
