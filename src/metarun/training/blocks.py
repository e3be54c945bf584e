"""Division of an outer step into blocks of tasks, whose contributions are added in order.

The blocks depend on the learner and the number of tasks only, so a step is the same to the bit for
any number of processes that compute them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from metarun.algorithms import Learner

BLOCKS = 8  # of a step, at most, if the engine takes one task after another


@dataclass
class Part:
    """The contribution of a block of tasks to an outer step.

    Attributes:
        scores: the scores of each task, scalars.
        gradients: for each parameter, the block's part of the meta-gradient; `None` for no part.
        averages: the values of `running_averages` after the block, which starts from those before
            the step.
    """

    scores: list[dict[str, Tensor]]
    gradients: list[Tensor | None]
    averages: list[Tensor]


def blocks(learner: Learner, tasks: int) -> list[range]:
    """The indices of the tasks of each block, of `tasks` tasks in a step."""
    size = learner.tasks_at_once if learner.tasks_at_once > 1 else -(-tasks // BLOCKS)
    if obstacle(learner):
        size = tasks
    return [range(start, min(start + size, tasks)) for start in range(0, tasks, size)]


def obstacle(learner: Learner) -> str | None:
    """Why the tasks of a step cannot be computed independently; `None` if they can."""
    if learner.joint:
        return "its loss needs all tasks of a step at once"
    if learner.sequential:
        return "a task starts from the state that the task before has left"
    known = {id(buffer) for buffer in running_averages(learner)}
    for name, buffer in learner.named_buffers():
        if id(buffer) not in known:
            return f"its buffer {name} may pass from task to task"
    return None


def running_averages(learner: nn.Module) -> list[Tensor]:
    """Mean, variance and number of updates of each layer that keeps exponential averages."""
    return [
        buffer
        for layer in _layers(learner)
        for buffer in (layer.running_mean, layer.running_var, layer.num_batches_tracked)
    ]


def combine(learner: Learner, parts: Iterable[Part]) -> list[dict[str, Tensor]]:
    """Set `.grad` and the running averages to those of a whole step; return the scores.

    An update of an average is r ← (1 − m)·r + m·s. If a block of k updates leads from r₀ to r₁, it
    leads from r to r₁ + (1 − m)ᵏ·(r − r₀), so the blocks are composed in order.

    Args:
        parts: the contributions of the blocks, in the order of their tasks.
    """
    scores: list[dict[str, Tensor]] = []
    parameters = list(learner.parameters())
    gradients: list[Tensor | None] = [None] * len(parameters)
    start = [buffer.clone() for buffer in running_averages(learner)]
    now = start
    for part in parts:
        scores += part.scores
        for i, gradient in enumerate(part.gradients):
            if gradient is not None:
                gradients[i] = gradient if gradients[i] is None else gradients[i].add_(gradient)
        now = part.averages if now is start else _composed(learner, start, now, part.averages)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.grad = gradient
    for buffer, value in zip(running_averages(learner), now, strict=True):
        buffer.copy_(value)
    return scores


def _composed(
    learner: Learner, start: list[Tensor], now: list[Tensor], after: list[Tensor]
) -> list[Tensor]:
    """The averages `now` after the updates that lead from `start` to `after`."""
    composed = []
    for i, layer in enumerate(_layers(learner)):
        mean, var, count = range(3 * i, 3 * i + 3)
        updates = (after[count] - start[count]).to(after[mean].dtype)
        kept = (1 - layer.momentum) ** updates
        composed += [after[j] + kept * (now[j] - start[j]) for j in (mean, var)]
        composed.append(now[count] + after[count] - start[count])
    return composed


def _layers(learner: nn.Module) -> list[_NormBase]:
    return [
        module
        for module in learner.modules()
        if isinstance(module, _NormBase)
        and module.running_mean is not None
        and module.momentum is not None
    ]
