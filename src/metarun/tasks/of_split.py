"""The base class of tasks that are made of the items of a split."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Self

import torch

Size = int | str


@dataclass(frozen=True)
class OfSplit:
    """What task sources that draw the items of a split share.

    Attributes:
        split: the split.
        ways: classes per task.
        shots, queries: items per class.
        device, dtype: device and type of the inputs.
    """

    split: Any
    ways: Size
    shots: Size
    queries: Size
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    @property
    def sha256(self) -> str:
        return self.split.sha256

    @property
    def sizes(self) -> tuple[Size, Size, Size]:
        return self.ways, self.shots, self.queries

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Self:
        return replace(self, device=device, dtype=dtype)
