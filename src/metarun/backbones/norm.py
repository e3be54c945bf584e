"""Batch normalisation that says whose statistics it uses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Statistics = Literal["running", "batch"] | int


class BatchNorm(nn.modules.batchnorm._BatchNorm):
    """Batch normalisation over (B, C) or (B, C, H, W) with a choice of statistics.

    `statistics` is one of

    - `"running"`: as in torch: the batch in training, which the running averages follow; the
      running averages in evaluation;
    - `"batch"`: the batch itself, in training and evaluation; no buffer is read or written, so
      nothing leaks from task to task;
    - n: the first n rows of the batch, for all its rows: put the support first, and each query is
      normalised by the support's statistics alone (MetaBN, Bronskill et al. 2020, section 3).
    """

    statistics: Statistics = "running"

    def _check_input_dim(self, input: Tensor) -> None:
        if input.dim() not in (2, 4):
            raise ValueError(f"expected (B, C) or (B, C, H, W), got {tuple(input.shape)}")

    def forward(self, input: Tensor) -> Tensor:
        if self.statistics == "running":
            return super().forward(input)
        if self.statistics == "batch":
            return F.batch_norm(
                input, None, None, self.weight, self.bias, training=True, eps=self.eps
            )
        # Written out: F.batch_norm does not differentiate through statistics handed to it.
        axes = (0, *range(2, input.dim()))
        var, mean = torch.var_mean(input[: self.statistics], dim=axes, correction=0, keepdim=True)
        shape = mean.shape
        scale = self.weight.view(shape) * (var + self.eps).rsqrt()
        return (input - mean) * scale + self.bias.view(shape)


@contextmanager
def normalised_by(net: nn.Module, statistics: Statistics) -> Iterator[None]:
    """Let every `BatchNorm` of `net` use these statistics for a while."""
    layers = [m for m in net.modules() if isinstance(m, BatchNorm)]
    before = [layer.statistics for layer in layers]
    for layer in layers:
        layer.statistics = statistics
    try:
        yield
    finally:
        for layer, was in zip(layers, before, strict=True):
            layer.statistics = was
