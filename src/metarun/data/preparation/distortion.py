"""Random distortions of drawn letters.

The random parameters of a drawing are rounded to integers and all further arithmetic is on
integers, so that the pixels do not depend on the processor or the build of numpy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

SIZE = 28  # pixels: height and width of a drawing
FINE_BITS = 1
FINE = 1 << FINE_BITS  # each pixel is the mean of FINE × FINE samples
BITS = 8
ONE = 1 << BITS  # fixed point: one pixel of the source
KNOTS = 4  # the elastic field has KNOTS × KNOTS knots
SOURCE = 96  # pixels: height and width of the source bitmap


class Strength(NamedTuple):
    """Strength of the distortions: each is uniform in [−x, x], or in [low, high]."""

    turn: float = 15.0  # degrees
    shear: float = 0.25
    extent: tuple[float, float] = (15.0, 22.0)  # length of the longer side in pixels of the drawing
    aspect: float = 0.2  # natural logarithm of the change of width over height
    shift: float = 2.0  # pixels of the drawing
    bend: float = 1.5  # pixels of the drawing, at each knot of the elastic field


USUAL = Strength()


def _spline() -> np.ndarray:
    """Weights (samples, KNOTS) of cosine interpolation from knots to samples, in 1/ONE."""
    at = (np.arange(SIZE * FINE) + 0.5) / (SIZE * FINE) * (KNOTS - 1)
    left = np.minimum(at.astype(int), KNOTS - 2)
    part = (1 - np.cos((at - left) * math.pi)) / 2
    weights = np.zeros((SIZE * FINE, KNOTS))
    rows = np.arange(SIZE * FINE)
    weights[rows, left], weights[rows, left + 1] = 1 - part, part
    return np.rint(weights * ONE).astype(np.int32)


SPLINE = _spline()


def coordinates(
    rng: np.random.Generator, longer: int, strength: Strength
) -> tuple[np.ndarray, np.ndarray]:
    """Random source rows and columns of a drawing's samples, each (samples, samples), in 1/ONE.

    Args:
        longer: length of the letter's longer side in source pixels.
    """
    s = strength
    turn = math.radians(rng.uniform(-s.turn, s.turn))
    shear = rng.uniform(-s.shear, s.shear)
    stretch = math.exp(rng.uniform(-s.aspect, s.aspect) / 2)
    scale = longer / rng.uniform(*s.extent)  # source pixels per pixel of the drawing
    shift = rng.uniform(-s.shift, s.shift, 2)
    knots = rng.uniform(-s.bend, s.bend, (2, KNOTS, KNOTS))

    cos, sin = math.cos(turn), math.sin(turn)
    # (row, column) from the centre, of the drawing → of the source: rotate, shear, stretch
    matrix = np.array([[cos, sin], [-sin, cos]]) @ np.array([[1, 0], [shear, 1]])
    matrix = np.diag([stretch, 1 / stretch]) @ matrix * scale
    a = np.rint(matrix * ONE).astype(np.int32)  # 1/ONE source pixels per pixel
    move = np.rint(shift * 2 * FINE).astype(np.int32)  # half samples
    field = np.rint(knots * scale * ONE).astype(np.int32)

    middle = 2 * np.arange(SIZE * FINE, dtype=np.int32) + 1 - SIZE * FINE  # half samples
    y, x = middle[:, None] - move[0], middle[None, :] - move[1]
    bent = SPLINE @ field @ SPLINE.T >> 2 * BITS
    rows, columns = (
        (a[i, 0] * y + a[i, 1] * x >> 1 + FINE_BITS) + bent[i] + SOURCE * ONE // 2 - ONE // 2
        for i in (0, 1)
    )
    return rows, columns


def sample(source: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Bilinear samples of `source` (SOURCE, SOURCE), averaged to a drawing (SIZE, SIZE) uint8."""
    padded = np.zeros((SOURCE + 3, SOURCE + 3), dtype=np.int32)
    padded[1:-2, 1:-2] = source
    rows = np.clip(rows + ONE, 0, (SOURCE + 1) * ONE)
    columns = np.clip(columns + ONE, 0, (SOURCE + 1) * ONE)
    down, right = rows & (ONE - 1), columns & (ONE - 1)
    at = (rows >> BITS) * (SOURCE + 3) + (columns >> BITS)
    flat = padded.ravel()
    above = (flat[at] << BITS) + (flat[at + 1] - flat[at]) * right
    at += SOURCE + 3
    below = (flat[at] << BITS) + (flat[at + 1] - flat[at]) * right
    value = (above << BITS) + (below - above) * down
    value = sum(value[i::FINE, j::FINE] for i in range(FINE) for j in range(FINE))
    return (value >> 2 * (BITS + FINE_BITS)).astype(np.uint8)
