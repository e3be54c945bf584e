"""Finds pictures that are a part of another picture, such as the face in a portrait."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from functools import cache
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from metarun.checks.likeness import thumbnails
from metarun.checks.pictures import Pictures

SMALLEST = 32  # pixels; half of a smaller picture has too little detail
SIDE, CELLS = 16, 8  # of a picture and of the views on it that are compared
WINDOWS = (15, 14, 13, 11, 10, 8)  # sides of the views, of SIDE: a crop has at least half the side
QUERIES = 1000  # pictures that are compared with the views on all others
COMPARISONS = 160_000_000  # of two pictures, at most: large data sets have fewer queries
BLOCK = 64  # pictures whose views are compared at once
CANDIDATES, CANDIDATE = 5, 0.7  # for each query: how many, and their minimal correlation
FINE, SOURCE_SIDE = 16, 64  # of a query and of the pictures that a candidate is searched in
SHIFTS, SCALES = (-0.04, -0.02, 0, 0.02, 0.04), (-0.05, 0, 0.05)  # of the search, of a side
CROP = 0.8  # minimal correlation after the search; crops reach 0.84, other photographs 0.5
ALIKE = 0.6  # from such a correlation of most pictures on, a crop cannot be told from others


def queries(pictures: Sized) -> np.ndarray:
    """The numbers of the pictures that are compared with all others, evenly spread over all."""
    count = min(QUERIES, len(pictures), COMPARISONS // len(pictures))
    return np.linspace(0, len(pictures), count, endpoint=False).astype(int)


def crops(pictures: Pictures) -> list[tuple[int, int]] | None:
    """The pairs (crop, picture) of numbers, where a picture is a crop of another one.

    The pictures of `queries` are compared with square views of several sizes on all pictures. On
    one CPU core this takes about 1 ms for each picture, and at most 8 minutes for 800,000.

    Returns:
        The pairs; `None` if different pictures are so alike that crops cannot be told from others.
    """
    numbers = queries(pictures)
    scores, sources, views = _candidates(pictures, numbers)
    found, correlations = [], []
    for q, query in enumerate(thumbnails(pictures.take(numbers), FINE)):
        best = 0.0
        for k in torch.nonzero(scores[q] >= CANDIDATE).flatten().tolist():
            source, view = int(sources[q, k]), _views()[int(views[q, k])]
            correlation = _search(query, thumbnails(pictures.take([source]), SOURCE_SIDE), view)
            best = max(best, correlation)
            if correlation >= CROP:
                found.append((int(numbers[q]), source))
        correlations.append(best)
    return None if np.quantile(correlations, 0.25) >= ALIKE else found


@cache
def _views() -> list[tuple[int, int, int]]:
    """The top, left and side of each view, in pixels of a picture with `SIDE` pixels."""
    return [
        (top, left, side)
        for side in WINDOWS
        for top, left in product(range(SIDE - side + 1), repeat=2)
    ]


@cache
def _projection() -> Tensor:
    """The linear map from a picture to the detail of its views: (SIDE², views · CELLS²)."""
    basis = torch.eye(SIDE * SIDE).view(-1, 1, SIDE, SIDE)
    views = [basis[:, :, t : t + side, x : x + side] for t, x, side in _views()]
    return torch.stack([_detail(view, CELLS) for view in views], 1).flatten(1)


def _detail(pictures: Tensor, side: int) -> Tensor:
    """Pictures (M, 1, H, W) of side `side`, minus their local means: (M, side²)."""
    small = F.interpolate(pictures, (side, side), mode="bilinear", antialias=True)
    return (small - F.avg_pool2d(small, 5, 1, 2, count_include_pad=False)).flatten(1)


def _candidates(pictures: Pictures, numbers: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
    """The best pictures for each query: correlations, numbers and views, (queries, CANDIDATES)."""
    small = thumbnails(pictures.take(numbers), SIDE)
    details = F.normalize(_detail(small, CELLS), eps=1e-3)
    best = torch.full((len(numbers), CANDIDATES), -1.0)
    sources, views = (torch.zeros(best.shape, dtype=torch.long) for _ in range(2))
    for start, block in _blocks(pictures):
        seen = F.normalize((block @ _projection()).view(len(block), -1, CELLS**2), dim=-1, eps=1e-3)
        scores, view = (details @ seen.flatten(0, 1).T).view(len(numbers), len(block), -1).max(-1)
        source = torch.arange(start, start + len(block)).expand_as(scores)
        scores = scores.masked_fill(source == torch.from_numpy(numbers)[:, None], -1)
        best, order = torch.cat([best, scores], 1).topk(CANDIDATES, 1)
        sources = torch.cat([sources, source], 1).gather(1, order)
        views = torch.cat([views, view], 1).gather(1, order)
    return best, sources, views


def _blocks(pictures: Pictures) -> Iterator[tuple[int, Tensor]]:
    """The number of the first picture, and the flattened thumbnails, of each block."""
    for start in range(0, len(pictures), BLOCK):
        block = pictures.take(range(start, min(start + BLOCK, len(pictures))))
        yield start, thumbnails(block, SIDE).flatten(1)


def _search(query: Tensor, source: Tensor, view: tuple[int, int, int]) -> float:
    """The largest correlation of a query with views on the source (1, 1, H, W) near `view`."""
    top, left, side = view
    moves = torch.tensor(list(product(SHIFTS, SHIFTS, SCALES)))
    size = side / SIDE + moves[:, 2]
    y, x = ((start + side / 2) / SIDE + moves[:, k] for k, start in enumerate((top, left)))
    zero = torch.zeros_like(size)
    rows = [torch.stack([size, zero, 2 * x - 1], 1), torch.stack([zero, size, 2 * y - 1], 1)]
    grid = F.affine_grid(torch.stack(rows, 1), [len(moves), 1, 2 * FINE, 2 * FINE], False)
    source = source.expand(len(moves), -1, -1, -1)
    seen = F.grid_sample(source, grid, padding_mode="border", align_corners=False)
    details = F.normalize(_detail(seen, FINE), eps=1e-3)
    return float((details @ F.normalize(_detail(query[None], FINE), eps=1e-3)[0]).max())
