"""Finds pictures that were encoded again, by the correlation of their fine detail."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 32  # pixels; larger pictures are downsampled to this side before the comparison
WINDOW = 5  # pixels; fine detail is the difference from the mean of such a square
LOW, HIGH = 0.65, 0.95  # bounds of the correlation in `threshold`
SAMPLE = 60  # classes, and pictures of each, that `threshold` uses
BLOCK = 512  # pictures compared with all others at once


def fine_detail(pictures: np.ndarray) -> Tensor:
    """Grey values minus their local means, as unit vectors.

    Different pictures of one kind (chest X-rays, letters) share light and dark areas, but not
    strokes and noise, which survive re-encoding.

    Args:
        pictures: (M, C, H, W) uint8.

    Returns:
        (M, D) float32 rows of norm 1, or 0 for a picture without fine detail.
    """
    grey = torch.from_numpy(np.ascontiguousarray(pictures)).float().mean(1, keepdim=True)
    if max(grey.shape[2:]) > SIDE:
        grey = F.adaptive_avg_pool2d(grey, [min(side, SIDE) for side in grey.shape[2:]])
    local_mean = F.avg_pool2d(grey, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return F.normalize((grey - local_mean).flatten(1), eps=1e-3)


def threshold(classes: Sequence[Tensor]) -> float:
    """The minimal correlation of two near-copies.

    At most 0.95: drawings and photographs keep this correlation in JPEG of quality 75. It is lower,
    down to 0.65, if the pictures of a class correlate less: noise loses more in JPEG.

    Args:
        classes: (M, D) the fine detail of the pictures of each class.
    """
    correlations = []
    for rows in classes[:: max(1, len(classes) // SAMPLE)]:
        sample = rows[:SAMPLE]
        i, j = torch.triu_indices(len(sample), len(sample), 1)
        correlations.append((sample @ sample.T)[i, j])
    pooled = torch.cat(correlations)
    if not len(pooled):
        return HIGH
    return min(HIGH, LOW + 2 * float(pooled.quantile(0.75)))


def near_copies(rows: Tensor, minimum: float) -> Iterator[tuple[int, int]]:
    """The pairs i < j of rows (M, D) whose correlation is at least `minimum`."""
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        i, j = torch.nonzero(block @ rows[start:].T >= minimum, as_tuple=True)
        later = i < j
        yield from zip((i[later] + start).tolist(), (j[later] + start).tolist(), strict=True)
