"""Embeds support and queries for learners that compare them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn

from metarun.backbones.norm import normalised_by
from metarun.tasks.objectives import loss_of, score
from metarun.tasks.sampler import Episodes


class Embedded(NamedTuple):
    """One task as its embeddings: T = 1, features D.

    Attributes:
        support, query: (1, N·K, D) and (1, N·Q, D).
        support_y, query_y: their labels, (1, N·K) and (1, N·Q).
    """

    support: Tensor
    support_y: Tensor
    query: Tensor
    query_y: Tensor


def for_training(net: nn.Module, episodes: Episodes) -> Iterator[Embedded]:
    """Each task of `episodes` in turn, its support and queries embedded as one batch.

    They share the statistics of batch normalisation, and the running averages follow them.
    """
    net.train()
    for t in range(len(episodes)):
        task = slice(t, t + 1)
        support, query = _together(net, episodes.support_x[t], episodes.query_x[t])
        yield Embedded(support, episodes.support_y[task], query, episodes.query_y[task])


def accumulate_each(
    net: nn.Module, logits_of: Callable[[Tensor, Tensor, Tensor], Tensor], episodes: Episodes
) -> dict[str, Tensor]:
    """Add the gradient of the mean query loss over the tasks to `.grad`, one task after another.

    Args:
        logits_of: embedded support, its labels and embedded queries → logits (1, N·Q, N).

    Returns:
        The scores of each task.
    """
    outputs = []
    for task in for_training(net, episodes):
        logits = logits_of(task.support, task.support_y, task.query)
        (loss_of(logits[0], task.query_y[0]) / len(episodes)).backward()
        outputs.append(logits.detach())
    return score(torch.cat(outputs), episodes.query_y)


def for_evaluation(
    net: nn.Module, support_x: Tensor, query_x: Tensor, batch_norm: str
) -> tuple[Tensor, Tensor]:
    """Embedded support (T, N·K, D) and queries (T, N·Q, D); no buffer is written.

    One task at a time: small batches stay in the processor's cache, and a task's embedding is the
    same to the bit whichever tasks come with it.

    Args:
        support_x, query_x: (T, N·K, *shape), (T, N·Q, *shape).
        batch_norm: `inductive`: normalised by the running averages; `transductive`: the queries of
            a task by their own statistics, its support by its own.
    """
    net.eval()
    pairs = zip(support_x, query_x, strict=True)
    if batch_norm == "inductive":
        embedded = [_together(net, sx, qx) for sx, qx in pairs]
    else:
        with normalised_by(net, "batch"):
            embedded = [(net(laid_out(sx))[None], net(laid_out(qx))[None]) for sx, qx in pairs]
    support, query = zip(*embedded, strict=True)
    return torch.cat(support), torch.cat(query)


def _together(net: nn.Module, sx: Tensor, qx: Tensor) -> tuple[Tensor, Tensor]:
    z = net(laid_out(torch.cat([sx, qx]))).unsqueeze(0)
    return z[:, : len(sx)], z[:, len(sx) :]


def laid_out(x: Tensor) -> Tensor:
    """Pictures with their channels innermost, which convolution and pooling take in faster."""
    return x.to(memory_format=torch.channels_last) if x.dim() == 4 else x
