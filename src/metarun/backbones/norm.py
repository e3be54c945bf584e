"""Batch normalisation with selectable statistics."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metarun.backbones.closed_form import batch_norm
from metarun.errors import Refused

Statistics = Literal["running", "batch", "closed_form"] | int


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation of (B, C) or (B, C, H, W) with selectable statistics.

    `statistics` is one of

    - `"running"`: as in PyTorch: batch statistics in training, which update the running averages;
      running averages in evaluation;
    - `"batch"`: batch statistics in training and evaluation; no buffer is read or written, so no
      information passes from task to task;
    - `"closed_form"`: the same values, with second derivatives that are faster on large batches and
      correct under `torch.func.vmap`;
    - an integer n: the statistics of the first n rows normalise the whole batch. If these rows are
      the support, each query depends only on the support and itself (MetaBN, Bronskill et al. 2020,
      section 3).

    Raises:
        Refused: the statistics would be those of a single value per channel.
    """

    statistics: Statistics = "running"

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected (B, C) or (B, C, H, W), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if self.training or self.statistics != "running":
            rows = self.statistics if isinstance(self.statistics, int) else len(input)
            refuse_single(rows * input.shape[2:].numel())
        if self.statistics == "running":
            return super().forward(input)
        if self.statistics == "closed_form":
            x = input.to(self.weight.dtype)  # bfloat16 under autocast
            return batch_norm(x, self.weight, self.bias, self.eps)
        if self.statistics == "batch":
            return F.batch_norm(
                input, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
        # F.batch_norm does not differentiate through statistics that are passed to it.
        axes = (0, *range(2, input.dim()))
        var, mean = torch.var_mean(input[: self.statistics], dim=axes, correction=0, keepdim=True)
        shape = mean.shape
        scale = self.weight.view(shape) * (var + self.eps).rsqrt()
        return (input - mean) * scale + self.bias.view(shape)


def refuse_single(values: int) -> None:
    """Check that there are several values for each channel.

    Raises:
        Refused: there is only one.
    """
    if values == 1:
        raise Refused(
            "backbone: batch normalisation cannot normalise one item by itself; use larger "
            "batches (shots, queries, algo.inner_batch), or a backbone without it, such as "
            "backbone=mlp_regression"
        )


@contextmanager
def normalised_by(net: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Context manager that sets `statistics` of all `BatchNorm` layers of `net`."""
    layers = [m for m in net.modules() if isinstance(m, BatchNorm)]
    previous = [layer.statistics for layer in layers]
    for layer in layers:
        layer.statistics = statistics
    try:
        yield
    finally:
        for layer, old_statistics in zip(layers, previous, strict=True):
            layer.statistics = old_statistics
