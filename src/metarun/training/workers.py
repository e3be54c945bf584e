"""Division of a run among processes: rank 0 leads, the others compute blocks that it names.

Rank 0 is the ordinary process of the run. It alone checks, writes and shows, and holds the
optimizer and the state. The others build the same data and learner, and receive the weights before
they compute.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from subprocess import Popen
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from metarun.config.schema import RunConfig
from metarun.errors import RunFailed
from metarun.tasks.sampler import SPLITS, Sampler
from metarun.training import gradient, processes
from metarun.training.blocks import Part, blocks, combine, obstacle, running_averages
from metarun.training.compatibility import RUN
from metarun.training.evaluation import score
from metarun.training.parts import Parts, assemble

log = logging.getLogger(__name__)


class Failure(NamedTuple):
    """An error of one rank, as text."""

    line: str
    traceback: str


class Worker:
    """A process that computes a share of a run. All ranks call the same methods in the same order.

    Attributes:
        parts: the objects of the run; on rank 0 those of the session.
        rank, size: the number of this process, and of all.
        part: the contribution of the last block that this rank has computed.
        error: the exception of the last computation on this rank.
    """

    parts: Parts
    part: Part | None = None
    error: Exception | None = None

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        self.samplers: dict[tuple[int, ...], Sampler] = {}

    def compute(self, name: str, *arguments: Any) -> list[Any] | None:
        """Call a method on each rank; on rank 0, return the answers of all, or their `Failure`."""
        self.error = None
        try:
            answer = getattr(self, name)(*arguments)
        except Exception as error:
            self.error = error
            answer = Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
        answers = None if self.rank else [None] * self.size
        dist.gather_object(answer, answers)
        return answers

    def build(self, config: RunConfig, *arguments: Any) -> None:
        """Build the parts, except on rank 0, which has them. See `assemble` for the arguments."""
        if self.rank:
            if config.device in ("auto", "cuda") and torch.cuda.is_available():
                local = int(os.environ.get("LOCAL_RANK", self.rank))
                device = f"cuda:{local % torch.cuda.device_count()}"
                config = config.model_copy(update={"device": device})
            self.parts = assemble(config, *arguments)
            self.samplers.clear()
            self.__dict__.pop("training", None)

    @cached_property
    def training(self) -> Sampler:
        """The sampler of training episodes."""
        return self.parts.training()

    def train(
        self, some: Sequence[range], tasks: int
    ) -> tuple[list[dict[str, Tensor]], list[bool]]:
        """Compute this rank's block of a step.

        Args:
            some: the numbers of the tasks of each rank's block.
            tasks: the number of tasks in the step.

        Returns:
            The scores of each task, and whether each parameter has a gradient.
        """
        self.part = None
        if self.rank >= len(some):
            return [], []
        learner, numbers = self.parts.learner, some[self.rank]
        drawn = self.training.tasks(numbers)
        self.part = gradient.part(learner, drawn, tasks, self.parts.config.seed)
        scores = [{name: s.cpu() for name, s in own.items()} for own in self.part.scores]
        return scores, [g is not None for g in self.part.gradients]

    def give(self) -> list[list[Tensor]] | None:
        """The gradients and running averages of each rank's block, on rank 0."""
        like = self._like()
        tensors = like
        if self.part is not None:
            given = zip(self.part.gradients, like, strict=False)
            tensors = [torch.zeros_like(p) if g is None else g for g, p in given]
            tensors += self.part.averages
        flats, gathered = self._packed(tensors), []
        for flat in flats:
            gathered.append(
                None if self.rank else [torch.empty_like(flat) for _ in range(self.size)]
            )
            dist.gather(flat, gathered[-1])
        if self.rank:
            return None
        return [_unpacked([flat[rank] for flat in gathered], like) for rank in range(self.size)]

    def score(self, key: tuple[int, ...], some: Sequence[range]) -> list[dict[str, float]]:
        """The scores of the tasks of this rank's block, of the evaluation stream `key`."""
        if self.rank >= len(some):
            return []
        if key not in self.samplers:
            source = self.parts.source(SPLITS[key[2]], "")
            self.samplers[key] = Sampler(source, key)
        return score(self.parts.learner, self.samplers[key], some[self.rank])

    def load(self, batch_norm: str) -> None:
        """Receive the weights and buffers of rank 0, and set the kind of batch norm."""
        learner = self.parts.learner
        learner.batch_norm = batch_norm
        tensors = [*learner.parameters(), *learner.buffers()]
        flats = self._packed(tensors)
        for flat in flats:
            dist.broadcast(flat, 0)
        if self.rank:
            for tensor, value in zip(tensors, _unpacked(flats, tensors), strict=True):
                tensor.data.copy_(value)

    def _like(self) -> list[Tensor]:
        return [*self.parts.learner.parameters(), *running_averages(self.parts.learner)]

    def _packed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """One flat tensor of each type; on the GPU only where each rank has its own."""
        link = self.parts.device if processes.own_gpus(self.size) else torch.device("cpu")
        kinds = dict.fromkeys(tensor.dtype for tensor in tensors)
        return [
            torch.cat([t.detach().flatten() for t in tensors if t.dtype == kind]).to(link)
            for kind in kinds
        ]


def _unpacked(flats: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that `_packed` has joined, with the shapes and devices of `like`."""
    rest, tensors = {flat.dtype: flat for flat in flats}, []
    for tensor in like:
        values, rest[tensor.dtype] = rest[tensor.dtype].tensor_split([tensor.numel()])
        tensors.append(values.view(tensor.shape).to(tensor.device))
    return tensors


class Workers(Worker):
    """Rank 0, which leads the others.

    Attributes:
        note: why the training is not divided; `None` if it is.
    """

    def __init__(self, parts: Parts, children: Sequence[Popen], *arguments: Any) -> None:
        super().__init__()
        self.parts, self.children = parts, children
        config, learner = parts.config, parts.learner
        self.note = obstacle(learner)
        if len(blocks(learner, config.meta_batch)) == 1:
            self.note = self.note or f"{config.meta_batch} tasks per step are one block"
        self._lead("compute", "build", config, *arguments)

    def accumulate(self, numbers: range) -> list[dict[str, Tensor]]:
        """As `gradient.accumulate`, for the training tasks with these numbers."""
        learner, seed = self.parts.learner, self.parts.config.seed
        if self.note:
            return gradient.accumulate(learner, self.training.tasks(numbers), seed)
        self.send_weights()
        return combine(learner, self._parts(numbers))

    def send_weights(self) -> None:
        """Send the learner's weights, buffers and kind of batch norm to the others."""
        self._lead("load", self.parts.learner.batch_norm)

    def scores(self, sampler: Sampler, some: Sequence[range]) -> list[dict[str, float]]:
        """The scores of these evaluation tasks, at most one block for each rank."""
        answers = self._lead("compute", "score", sampler.key, some)
        return [scores for answer in answers for scores in answer]

    def _parts(self, numbers: range) -> Iterator[Part]:
        own = blocks(self.parts.learner, len(numbers))
        all_blocks = [numbers[block.start : block.stop] for block in own]
        for start in range(0, len(all_blocks), self.size):
            some = all_blocks[start : start + self.size]
            answers = self._lead("compute", "train", some, len(numbers))
            for (scores, has), tensors in zip(
                answers[: len(some)], self._lead("give"), strict=False
            ):
                gradients = [g if h else None for g, h in zip(tensors, has, strict=False)]
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
        except RuntimeError as error:  # computations catch their own
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
    if parts.config.workers == 1:
        yield None
        return
    with processes.started(parts.config.workers) as children:
        yield Workers(parts, children, folders, used, trained_spec)


def serve() -> None:
    """Compute for rank 0 until it ends. Signals are for rank 0."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    processes.join()
    logging.disable()  # rank 0 shows the same warnings
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - open until the process ends
    worker = Worker()
    with contextlib.suppress(RuntimeError):  # the connection is closed
        while True:
            message: list[Any] = [None]
            dist.broadcast_object_list(message, 0)
            name, arguments = message[0]
            getattr(worker, name)(*arguments)


def under_torchrun(main: Callable[[Sequence[str]], int], argv: Sequence[str]) -> int:
    """Run the command on rank 0; serve it on the other ranks."""
    if os.environ["RANK"] != "0":
        serve()
        return 0
    processes.join()
    try:
        return main(argv)
    finally:
        dist.destroy_process_group()
