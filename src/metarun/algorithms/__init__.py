"""Few-shot learners, one per module. They do not use files, loggers or Hydra."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from torch import nn

from metarun.tasks.task import Evidence, Judged, Kind, Model, Task

BatchNormKind = Literal["transductive", "inductive"]


class Learner(nn.Module):
    """Base class of few-shot learners, which adapt to the support of a task.

    A learner is constructed as `Learner(backbone, spec, **keys of its YAML file)`. The PyTorch flag
    `self.training` selects the inner steps, the order of derivatives and the batch-norm statistics
    of training or of evaluation. Random numbers come from PyTorch's global generator, which is
    seeded before each task by the task's number.

    The attributes describe the requirements and limits of a learner. Tests, checks and the
    validation of a configuration read them.

    Attributes:
        learns: the learner has parameters to train. If not, a run has no steps and only tests.
        per_label_head: the head has separate weights for each label, so the number of ways must be
            the same in training and in evaluation.
        needs_labels: the learner only classifies; it cannot predict real numbers.
        takes: the kinds of tasks that the learner takes, see `metarun.Spec`. One that indexes the
            items of a support takes `examples` only.
        engines: the engines that can compute the learner's tasks; `loop` takes one after another.
        engine: the engine in use.
        tasks_at_once: number of tasks that `outer_losses` gets at once in training.
        joint: the loss needs all tasks of a meta-batch at once; `outer_losses` computes it.
        sequential: training on a task changes a state that the next task starts from. The running
            averages of batch norm are no such state.
        fixed_shots: a support should have as many items of each class as in training.
        order_matters: predictions depend on the order of the support.
        exportable: `adapt` is one function of supports of every size, without random numbers and
            derivatives, so that `metarun export` can trace it.
        slope: the gradient used in training is the exact gradient of the outer loss, which
            `metarun audit` verifies.
        adapts_alike: adaptation does not depend on `batch_norm`; a model reads it when it computes
            outputs. An evaluation with both kinds of batch norm then adapts once.
        batch_norm: statistics that normalise a query in evaluation: `transductive` (those of the
            query batch) or `inductive` (a prediction depends on the support and that query only).
    """

    learns: bool = True
    per_label_head: bool = False
    needs_labels: bool = True
    takes: tuple[Kind, ...] = ("examples",)
    engines: tuple[str, ...] = ("loop",)
    engine: str = "loop"
    tasks_at_once: int = 1
    joint: bool = False
    sequential: bool = False
    fixed_shots: bool = False
    order_matters: bool = False
    exportable: bool = False
    slope: bool = True
    adapts_alike: bool = False
    batch_norm: str = "inductive"

    def adapt(self, support: Evidence) -> Model:
        """Return a model that is adapted to the task of this support.

        The model maps inputs (items, *shape) to outputs (items, N) and selects the batch-norm
        statistics itself. In evaluation the learner's parameters and buffers are not modified.
        """
        raise NotImplementedError(f"{type(self).__name__}.adapt")

    def adapt_all(self, supports: Sequence[Evidence]) -> list[Model]:
        """Return the model of `adapt` for each support. A subclass may compute them in a batch."""
        return [self.adapt(support) for support in supports]

    def see_training_tasks(self, tasks: Iterable[Task]) -> None:
        """Called before each validation with training tasks, the same each time, drawn on demand.

        A learner can compute statistics of its features here and keep them in buffers.
        """

    def outer_loss(self, task: Task) -> Judged:
        """Return the loss that training minimises and the scores: by default, of the query."""
        return task.query.judge(self.adapt(task.support))

    def outer_losses(self, tasks: Sequence[Task]) -> Iterable[Judged]:
        """Return the outer loss of each task, in order. A joint learner overrides this method."""
        return map(self.outer_loss, tasks)
