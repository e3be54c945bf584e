"""The inner loop, in one place for every learner that adapts by gradients."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Literal

import gym_notices.notices
import torch
from torch import Tensor, nn

from metarun.backbones.norm import normalised_by
from metarun.tasks.objectives import loss_of, score
from metarun.tasks.sampler import Episodes

gym_notices.notices.notices.clear()  # learn2learn imports gym, which would print its farewell
import learn2learn as l2l  # noqa: E402


def adapt(
    net: nn.Module,
    x: Tensor,
    y: Tensor,
    *,
    steps: int,
    lr: float | Iterable[Tensor],
    first_order: bool,
) -> nn.Module:
    """A copy of `net` after `steps` gradient steps on the mean loss of one task's support.

    θ' ← θ' − lr·∇L(θ'; support), from θ' = θ (Finn et al. 2017, equation 1). The copy stays
    connected to `net`: the gradient of what it computes reaches θ. Every parameter adapts, the
    scale and shift of batch normalisation included. It works under `torch.no_grad()` too.

    Args:
        x: (N·K, *shape) support of one task.
        y: (N·K) labels.
        lr: one step size, or a tensor of step sizes for each parameter, of its shape and in the
            order of `net.parameters()` (Li et al. 2017, equation 2); the gradient reaches them.
        first_order: treat the inner gradients as constants (Finn et al. 2017, section 5.2).
    """
    with torch.enable_grad():
        if isinstance(lr, int | float):
            wrapper = l2l.algorithms.MAML(net, lr=lr, first_order=first_order)
        else:
            wrapper = l2l.algorithms.MetaSGD(net, lrs=lr, first_order=first_order)
        learner = wrapper.clone()
        for _ in range(steps):
            learner.adapt(loss_of(learner(x), y))
    return learner.module


def query_outputs(
    adapted: nn.Module, sx: Tensor, qx: Tensor, batch_norm: Literal["transductive", "inductive"]
) -> Tensor:
    """Outputs (N·Q, N) of one task's adapted network for its queries.

    Args:
        sx: (N·K, *shape) support.
        qx: (N·Q, *shape) queries.
        batch_norm: `transductive`: the queries are normalised by their own batch; `inductive`: by
            the support, under the adapted weights (MetaBN, Bronskill et al. 2020).
    """
    if batch_norm == "transductive":
        with normalised_by(adapted, "batch"):
            return adapted(qx)
    with normalised_by(adapted, len(sx)):
        return adapted(torch.cat([sx, qx]))[len(sx) :]


def accumulate_each(
    outputs_of: Callable[[Tensor, Tensor, Tensor], Tensor], episodes: Episodes
) -> dict[str, Tensor]:
    """Add the gradient of the mean query loss over the tasks to `.grad`, one task after another.

    Args:
        outputs_of: support x and y and query x of one task → its query outputs.

    Returns:
        The scores of each task.
    """
    outputs = []
    parts = (episodes.support_x, episodes.support_y, episodes.query_x, episodes.query_y)
    for sx, sy, qx, qy in zip(*parts, strict=True):
        found = outputs_of(sx, sy, qx)
        (loss_of(found, qy) / len(episodes)).backward()
        outputs.append(found.detach())
    return score(torch.stack(outputs), episodes.query_y)


def predict_each(
    outputs_of: Callable[[Tensor, Tensor, Tensor], Tensor],
    support_x: Tensor,
    support_y: Tensor,
    query_x: Tensor,
) -> Tensor:
    """Query outputs (T, N·Q, N), one task after another, without a graph behind them."""
    with torch.no_grad():
        tasks = zip(support_x, support_y, query_x, strict=True)
        return torch.stack([outputs_of(*task) for task in tasks])
