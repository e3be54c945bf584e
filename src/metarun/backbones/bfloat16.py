"""Backbones that compute in bfloat16 and keep their weights in float32."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn


class _InBfloat16:
    """Mixed into the class of a backbone. Heads and distances after it stay in float32."""

    def forward(self, x: Any) -> Tensor:
        weight = next(self.parameters())
        # Without a cache of weights: the inner loop changes them between two calls.
        with torch.autocast(weight.device.type, torch.bfloat16, cache_enabled=False):
            features = super().forward(x)
        return features.to(weight.dtype)


def in_bfloat16(backbone: nn.Module) -> nn.Module:
    """Let a backbone with weights compute convolutions and matrix products in bfloat16."""
    if not any(True for _ in backbone.parameters()):
        return backbone
    kind = type(backbone)
    backbone.__class__ = type(kind.__name__, (_InBfloat16, kind), {"__module__": kind.__module__})
    return backbone


def cpu_has_bfloat16() -> bool:
    """Whether the CPU has instructions for bfloat16; true where this is not known."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text() if cpuinfo.exists() else ""
    return "flags" not in flags or "avx512_bf16" in flags or "amx_bf16" in flags
