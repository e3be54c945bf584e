"""Learners, one a file. They know nothing of files, loggers or Hydra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from torch import nn

from metarun.tasks.task import Evidence, Judged, Model, Task

BatchNormKind = Literal["transductive", "inductive"]


class Learner(nn.Module):
    """A few-shot learner: it adapts to a support.

    Made as `Learner(backbone, spec, **keys of its YAML file)`. `self.training`, torch's own flag,
    tells the inner steps, the order of derivatives and the statistics of training from those of
    evaluation. What a learner draws comes from torch's global generator, which is seeded by the
    number of the task before each.

    The attributes say what the learner needs or cannot do; tests, checks and refusals read them.

    Attributes:
        per_label_head: it has weights of its own for each label, so that it can only be tested with
            as many ways as it was trained with.
        needs_labels: it tells classes apart and predicts no numbers.
        needs_examples: it takes supports apart into rows, so that they cannot be environments.
        joint: its loss needs all tasks of a meta-batch at once; it defines `outer_losses`.
        sequential: a state runs from task to task.
        order_matters: its models depend on the order of the support.
        slope: the gradient of its outer loss is the slope of that loss. `metarun audit` holds the
            learner to it.
        batch_norm: whose statistics normalise a query in evaluation: `transductive` (those of the
            query batch) or `inductive` (a prediction depends on the support and that query only).
    """

    per_label_head: bool = False
    needs_labels: bool = True
    needs_examples: bool = True
    joint: bool = False
    sequential: bool = False
    order_matters: bool = False
    slope: bool = True
    batch_norm: str = "inductive"

    def adapt(self, support: Evidence) -> Model:
        """A model for the task that this support is of.

        The model maps inputs (items, *shape) to outputs (items, N), whatever statistics that needs.
        In evaluation the learner's own parameters and buffers stay as they are.
        """
        raise NotImplementedError(f"{type(self).__name__}.adapt")

    def adapt_all(self, supports: Sequence[Evidence]) -> list[Model]:
        """A model for each support, as `adapt` gives it; several may be computed at once."""
        return [self.adapt(support) for support in supports]

    def outer_loss(self, task: Task) -> Judged:
        """The loss that training differentiates, and scores: by default those of the query."""
        return task.query.judge(self.adapt(task.support))

    def outer_losses(self, tasks: Sequence[Task]) -> Iterable[Judged]:
        """That of each task, in this order; a joint learner computes them together."""
        return map(self.outer_loss, tasks)
