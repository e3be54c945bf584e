"""Division of a run among processes, which rank 0 leads.

Rank 0 is the ordinary process of the run. It alone checks, writes and shows, and holds the
optimizer and the state. The others build the same data and learner, and receive the weights before
they compute.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import torch.distributed as dist
from torch import Tensor

from metarun.errors import RunFailed
from metarun.tasks.sampler import Sampler
from metarun.training import gradient, processes
from metarun.training.blocks import Part, blocks, combine, obstacle
from metarun.training.compatibility import RUN
from metarun.training.evaluation import ScoresByKind
from metarun.training.parts import Parts
from metarun.training.worker import Failure, Worker, serve

log = logging.getLogger(__name__)


class Workers(Worker):
    """The processes of a run, on rank 0.

    Args:
        parts: the objects of the run.
        children: the processes that this one has started.
        arguments: as `parts` was assembled with, after the configuration.

    Attributes:
        note: why the training is not divided; `None` if it is.
    """

    def __init__(self, parts: Parts, children: Sequence[Popen], *arguments: Any) -> None:
        super().__init__()
        self.parts, self.children = parts, children
        tasks = parts.config.meta_batch
        self.note = obstacle(parts.learner)
        if len(blocks(parts.learner, tasks)) == 1:
            self.note = self.note or f"meta_batch={tasks} is one block of tasks"
            if 1 < tasks <= parts.learner.tasks_at_once:
                self.note += f"; tasks_at_once={-(-tasks // self.size)} divides it"
        self._lead("compute", "build", parts.config, *arguments)

    def accumulate(self, numbers: range) -> list[dict[str, Tensor]]:
        """As `gradient.accumulate`, for the training tasks with these numbers."""
        learner, seed = self.parts.learner, self.parts.config.seed
        if self.note:
            return gradient.accumulate(learner, self.training.tasks(numbers), seed)
        self.send_weights()
        return combine(learner, self._parts(numbers))

    def send_weights(self) -> None:
        """Send the learner's weights and buffers to the others."""
        self._lead("load")

    def scores(
        self, sampler: Sampler, some: Sequence[range], kinds: Sequence[str]
    ) -> list[ScoresByKind]:
        """The scores of these evaluation tasks, at most one block for each rank."""
        answers = self._lead("compute", "score", sampler.key, some, kinds)
        return [scores for answer in answers for scores in answer]

    def _parts(self, numbers: range) -> Iterator[Part]:
        divided = [
            numbers[block.start : block.stop] for block in blocks(self.parts.learner, len(numbers))
        ]
        for start in range(0, len(divided), self.size):
            some = divided[start : start + self.size]
            answers = self._lead("compute", "train", some, len(numbers))
            tensors_of_ranks = self._lead("give")
            for (scores, has), tensors in zip(answers[: len(some)], tensors_of_ranks, strict=False):
                gradients = [t if h else None for t, h in zip(tensors, has, strict=False)]
                yield Part(scores, gradients, tensors[len(has) :])

    def _lead(self, name: str, *arguments: Any) -> Any:
        """Call a method on all ranks and return what it returns on this one.

        Raises:
            WorkerEnded: another process has ended.
            RunFailed: the computation failed in another process.
        """
        try:
            dist.broadcast_object_list([(name, arguments)], 0)
            answer = getattr(self, name)(*arguments)
        except RuntimeError as error:  # of the connection: `compute` catches the others
            raise processes.WorkerEnded(processes.end_of(self.children)) from error
        if self.error is not None:
            raise self.error
        for rank, failure in enumerate(answer or ()):
            if isinstance(failure, Failure):
                log.error("worker %d of %d: %s", rank + 1, self.size, failure.traceback)
                raise RunFailed(f"worker {rank + 1} of {self.size}: {failure.line}")
        return answer


@contextmanager
def workers_of(
    parts: Parts,
    folders: Sequence[Path] = (),
    used: Mapping[str, str] = RUN,
    trained_spec: Mapping[str, Any] | None = None,
) -> Iterator[Workers | None]:
    """A context with the processes that divide a run; `None` if one computes it alone.

    Args:
        parts: the objects of the run.
        folders, used, trained_spec: as `parts` was assembled with.
    """
    size = processes.size_of(parts.config)
    if size == 1:
        yield None
        return
    with processes.started(size) as children:
        yield Workers(parts, children, folders, used, trained_spec)


def under_torchrun(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run the command on rank 0; serve it on the other ranks."""
    if os.environ["RANK"] != "0":
        serve()
    processes.join()
    try:
        return main(argv)
    finally:
        dist.destroy_process_group()
