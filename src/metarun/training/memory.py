"""The memory that a training step needs, and the memory that there is."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from metarun.algorithms import Learner
from metarun.config.schema import RunConfig
from metarun.errors import Refused
from metarun.tasks.task import Examples, Task, each

log = logging.getLogger(__name__)
COPIES = 4  # of the weights: themselves, their gradient, and two moments of Adam
BOUND = 5000  # the step of a task keeps less than this multiple of its inputs and the weights


def check_memory(
    config: RunConfig, build: Callable[[], Learner], task: Task, device: torch.device
) -> None:
    """Warn if a training step may need more memory than is free.

    The learner is built, and the loss of a task computed, with tensors that have a shape and no
    content. All tensors that are kept for the gradient count, although some are released earlier.

    Args:
        build: builds the learner.
        task: a training task.

    Raises:
        Refused: the weights alone need more memory than is free.
    """
    free = free_memory(device)
    try:
        with torch.device("meta"):
            learner = build()
    except Refused:
        raise
    except Exception:  # a learner of the user needs content
        return
    weights = sum(tensor.nbytes for tensor in [*learner.parameters(), *learner.buffers()])
    names = f"algo={config.choices.algo} backbone={config.choices.backbone}"
    if weights > free:
        raise Refused(
            f"{names}: the weights need {_text(weights)} of memory, and {_text(free)} are free; "
            "use a smaller network"
        )
    tasks = config.meta_batch if learner.joint else 1
    inputs = sum(part.x.nbytes for part in (task.support, task.query) if hasattr(part.x, "nbytes"))
    if COPIES * weights + tasks * BOUND * (weights + inputs) <= free:
        return  # the computation takes seconds
    needed = COPIES * weights + tasks * _kept(learner, task)
    if needed > free:
        log.warning(
            "%s: a training step may need %s of memory, and %s are free",
            names,
            _text(needed),
            _text(free),
        )


def free_memory(device: torch.device) -> float:
    """The free memory of a device in bytes; infinite if it is unknown."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = float("inf")
    with contextlib.suppress(OSError, StopIteration):  # not Linux
        lines = Path("/proc/meminfo").read_text().splitlines()
        available = next(line for line in lines if line.startswith("MemAvailable:"))
        free = int(available.split()[1]) * 1024.0
    with contextlib.suppress(OSError, ValueError):  # no container, or one without a limit
        free = min(free, float(Path("/sys/fs/cgroup/memory.max").read_text()))
    return free


def _kept(learner: Learner, task: Task) -> int:
    """The size in bytes of the tensors that the graph of a task's outer loss keeps.

    If a learner needs content, such as a random choice, the computation ends there.
    """
    kept: dict[int, Tensor] = {}  # by storage

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage()._cdata] = tensor
        return tensor

    with (
        contextlib.suppress(Exception),
        torch.device("meta"),
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
    ):
        for _ in learner.outer_losses([_without_content(task)]):
            pass
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values())


def _without_content(task: Task) -> Task:
    def empty(examples: Examples) -> Examples:
        x = each(lambda tensor: tensor.to("meta"), examples.x)
        return replace(examples, x=x, y=examples.y.to("meta"))

    classes = None if task.classes is None else task.classes.to("meta")
    return Task(empty(task.support), empty(task.query), task.number, classes)


def _text(size: float) -> str:
    return f"{size / 1e9:.1f} GB" if size < 1e12 else f"{size / 1e12:.1f} TB"
