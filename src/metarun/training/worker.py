"""What each of the processes of a run computes when rank 0 asks for it.

All ranks call the same methods of `Worker` in the same order. Those that compute are called by
`compute`, which catches their errors; the others, `load` and `give`, exchange tensors.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor

from metarun.config.schema import RunConfig
from metarun.tasks.sampler import SPLITS, Sampler
from metarun.training import gradient, processes
from metarun.training.blocks import Part, running_averages
from metarun.training.evaluation import ScoresByKind, score
from metarun.training.parts import Parts, assemble


class Failure(NamedTuple):
    """An error of one rank, as text."""

    line: str
    traceback: str


class Worker:
    """One of the processes of a run.

    Attributes:
        parts: the objects of the run; on rank 0 those of the session.
        rank, size: the number of this process, and of all.
        part: the contribution of the block that this rank has computed last.
        error: the exception of the last computation on this rank.
    """

    parts: Parts
    part: Part | None = None
    error: Exception | None = None

    def __init__(self) -> None:
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

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
        """Build the parts, except on rank 0, which has them; see `assemble` for the arguments."""
        chosen = config.device in ("auto", "cuda")
        self.own_gpu = chosen and processes.own_gpus(self.size)  # then tensors travel through nccl
        if self.rank:
            if chosen and torch.cuda.is_available():
                torch.cuda.set_device(int(os.environ["LOCAL_RANK"]) % torch.cuda.device_count())
            self.parts = assemble(config, *arguments)
        self.training = self.parts.training()
        self.sources = {}

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
        drawn = self.training.tasks(some[self.rank])
        self.part = gradient.part(self.parts.learner, drawn, tasks, self.parts.config.seed)
        scores = [{name: s.cpu() for name, s in own.items()} for own in self.part.scores]
        return scores, [gradient is not None for gradient in self.part.gradients]

    def score(
        self, key: tuple[int, ...], some: Sequence[range], kinds: Sequence[str]
    ) -> list[ScoresByKind]:
        """The scores of the tasks of this rank's block, of the evaluation stream `key`."""
        if self.rank >= len(some):
            return []
        split = SPLITS[key[2]]
        if split not in self.sources:
            self.sources[split] = self.parts.source(split, "")
        return score(self.parts.learner, Sampler(self.sources[split], key), some[self.rank], kinds)

    def load(self) -> None:
        """Receive the weights and buffers of rank 0."""
        learner = self.parts.learner
        tensors = [*learner.parameters(), *learner.buffers()]
        flats = self._packed(tensors)
        for flat in flats:
            dist.broadcast(flat, 0)
        if self.rank:
            for tensor, value in zip(tensors, _unpacked(flats, tensors), strict=True):
                tensor.data.copy_(value)

    def give(self) -> list[list[Tensor]] | None:
        """Return the gradients and running averages of each rank's block, on rank 0."""
        weights, averages = (
            list(self.parts.learner.parameters()),
            running_averages(self.parts.learner),
        )
        tensors = [*weights, *averages]  # a rank without a block gives anything
        if self.part is not None:
            given = zip(self.part.gradients, weights, strict=True)
            tensors = [torch.zeros_like(w) if g is None else g for g, w in given]
            tensors += self.part.averages
        of_ranks: list[list[Tensor]] = [[] for _ in range(self.size)]
        for flat in self._packed(tensors):
            gathered = None if self.rank else [torch.empty_like(flat) for _ in of_ranks]
            dist.gather(flat, gathered)
            for flats, one in zip(of_ranks, gathered or (), strict=False):
                flats.append(one)
        return None if self.rank else [_unpacked(f, [*weights, *averages]) for f in of_ranks]

    def _packed(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """One flat tensor of each type, where it can be sent from."""
        device = self.parts.device if self.own_gpu else torch.device("cpu")
        return [
            torch.cat([t.detach().flatten() for t in tensors if t.dtype == kind]).to(device)
            for kind in dict.fromkeys(tensor.dtype for tensor in tensors)
        ]


def _unpacked(flats: Sequence[Tensor], like: Sequence[Tensor]) -> list[Tensor]:
    """The tensors that `_packed` has joined, with the shapes and devices of `like`."""
    rest, tensors = {flat.dtype: flat for flat in flats}, []
    for tensor in like:
        values, rest[tensor.dtype] = rest[tensor.dtype].tensor_split([tensor.numel()])
        tensors.append(values.view(tensor.shape).to(tensor.device))
    return tensors


def serve() -> None:
    """Compute for rank 0 until it ends; signals are for rank 0. Ends the process."""
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
    os._exit(0)  # the interpreter's end could abort on the closed connection
