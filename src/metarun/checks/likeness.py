"""Finds pictures that were encoded again, by the correlation of their fine detail.

Few pictures are compared with all others. Of many, only pairs with similar codes are compared: a
perceptual hash that costs a sort instead of a comparison of all pairs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from scipy.fft import dctn
from torch import Tensor

SIDE = 32  # pixels; larger pictures are downsampled to this side before the comparison
WINDOW = 5  # pixels; fine detail is the difference from the mean of such a square
LOW, HIGH = 0.65, 0.95  # bounds of the correlation in `threshold`
SAMPLE = 60  # classes, and pictures of each, that `threshold` uses
BLOCK = 512  # pictures compared with all others at once
FREQUENCIES = 12  # of a code, horizontally and vertically
CODE_BITS, PARTS = 24, 5  # a code has 5 parts of 24 bits; codes with an equal part are similar
NEIGHBOURS = 8  # pictures that a picture is compared with for each equal part


def thumbnails(pictures: np.ndarray, side: int = SIDE) -> Tensor:
    """Grey pictures (M, 1, H, W) float32 whose sides are `side` at most.

    Args:
        pictures: (M, C, H, W) uint8.
    """
    grey = torch.from_numpy(np.ascontiguousarray(pictures)).float().mean(1, keepdim=True)
    if max(grey.shape[2:]) > side:
        grey = F.adaptive_avg_pool2d(grey, [min(length, side) for length in grey.shape[2:]])
    return grey


def fine_detail(pictures: np.ndarray) -> Tensor:
    """Grey values minus their local means, as unit vectors.

    Different pictures of one kind (chest X-rays, letters) share light and dark areas, but not
    strokes and noise, which survive re-encoding.

    Args:
        pictures: (M, C, H, W) uint8.

    Returns:
        (M, D) float32 rows of norm 1, or 0 for a picture without fine detail.
    """
    grey = thumbnails(pictures)
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


def codes(pictures: np.ndarray) -> np.ndarray:
    """The signs of the lowest frequencies of each picture, as numbers (M, PARTS) uint32.

    Signs of a discrete cosine transform survive re-encoding, scaling and changes of brightness and
    contrast, except those of small coefficients; so one part of a code may differ, not all.

    Args:
        pictures: (M, C, H, W) uint8.
    """
    spectrum = dctn(thumbnails(pictures)[:, 0].numpy(), axes=(1, 2))
    low = spectrum[:, :FREQUENCIES, :FREQUENCIES].reshape(len(spectrum), -1)
    order = np.add.outer(np.arange(FREQUENCIES), np.arange(FREQUENCIES))[: spectrum.shape[1]]
    lowest = np.argsort(order[:, : spectrum.shape[2]], axis=None, kind="stable")[1:]
    bits = np.zeros((len(spectrum), PARTS * CODE_BITS), bool)
    signs = low[:, lowest[: bits.shape[1]]] > 0
    bits[:, : signs.shape[1]] = signs
    powers = 2 ** np.arange(CODE_BITS, dtype=np.uint32)
    # Part k has every PARTS-th bit, so that all parts have low and high frequencies.
    parts = bits.reshape(len(bits), CODE_BITS, PARTS).transpose(0, 2, 1)
    return (parts * powers).sum(-1, dtype=np.uint32)


def similar_codes(codes: np.ndarray) -> np.ndarray:
    """The pairs i < j of codes (M, PARTS) with an equal part, (P, 2), at most M·PARTS·NEIGHBOURS.

    A part that is equal in many codes says little: there, a code is paired with the next ones only.
    """
    pairs = []
    for part in codes.T:
        order = np.argsort(part, kind="stable")
        for distance in range(1, min(NEIGHBOURS, len(order) - 1) + 1):
            i, j = order[:-distance], order[distance:]
            pairs.append(np.stack([i, j], 1)[part[i] == part[j]])
    return np.unique(np.concatenate(pairs), axis=0) if pairs else np.empty((0, 2), int)
