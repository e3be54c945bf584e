"""Which pictures are one picture, encoded twice: the fine detail of the two agrees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 32  # pixels: larger pictures are averaged down to this before they are compared
WINDOW = 5  # pixels: what differs from the mean of such a square is fine detail
LEAST, ENOUGH = 0.65, 0.95  # correlations, see `threshold`
SAMPLE = 60  # classes, and pictures of each, that the threshold is taken from
BLOCK = 512  # pictures that are compared with all others at a time


def fine_detail(pictures: np.ndarray) -> Tensor:
    """(M, C, H, W) uint8 → (M, D) float32 of length 1: grey, without the mean of its surroundings.

    Two pictures of a kind (chest X-rays, letters) have much the same light and dark areas; strokes
    and noise are a picture's own and outlast a new encoding. A picture without any is all zeros.
    """
    grey = torch.from_numpy(np.ascontiguousarray(pictures)).float().mean(1, keepdim=True)
    if max(grey.shape[2:]) > SIDE:
        grey = F.adaptive_avg_pool2d(grey, [min(side, SIDE) for side in grey.shape[2:]])
    around = F.avg_pool2d(grey, WINDOW, 1, WINDOW // 2, count_include_pad=False)
    return F.normalize((grey - around).flatten(1), eps=1e-3)


def threshold(classes: Sequence[Tensor]) -> float:
    """The correlation from which on two pictures are taken for one.

    0.95, which an encoding as JPEG of quality 75 keeps in drawings and photographs; less, 0.65 at
    least, the less the pictures of a class have in common: noise loses more in an encoding.

    Args:
        classes: the fine detail of the pictures of each class.
    """
    correlations = []
    for rows in classes[:: max(1, len(classes) // SAMPLE)]:
        some = rows[:SAMPLE]
        i, j = torch.triu_indices(len(some), len(some), 1)
        correlations.append((some @ some.T)[i, j])
    found = torch.cat(correlations)
    if not len(found):
        return ENOUGH
    return min(ENOUGH, LEAST + 2 * float(found.quantile(0.75)))


def near_copies(rows: Tensor, least: float) -> Iterator[tuple[int, int]]:
    """The pairs i < j of rows (M, D) whose correlation is `least` or more."""
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        i, j = torch.nonzero(block @ rows[start:].T >= least, as_tuple=True)
        later = i < j
        yield from zip((i[later] + start).tolist(), (j[later] + start).tolist(), strict=True)
