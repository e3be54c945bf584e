"""Prepared items as tensors."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

NORMALISATION = "uint8 / 255; other numbers as they are"  # see `as_tensor`


def as_tensor(array: np.ndarray, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """Return prepared items or labels as a tensor of the same shape, see `NORMALISATION`."""
    tensor = torch.from_numpy(np.ascontiguousarray(array)).to(device)
    if tensor.dtype == torch.uint8:
        return tensor.to(dtype).div_(255)
    return tensor.to(dtype) if tensor.is_floating_point() else tensor
