"""Letters of a font: their scripts, bitmaps and visual similarity."""

from __future__ import annotations

import importlib.util
import math
import unicodedata
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np

from metarun.errors import Refused

RASTER = 100  # font size in pixels at which letters are compared
SIDE = 32  # pixels: length of the longer side of letters in comparisons
ALIKE = 0.88  # minimum Dice overlap of letters that look alike


class Face:
    """One font file: its letters and their bitmaps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def points(self) -> frozenset[int]:
        """Code points for which the font has a glyph."""
        from fontTools.ttLib import TTFont

        with TTFont(self.path, lazy=True) as font:
            table = font.getBestCmap()
            return frozenset(point for point, glyph in table.items() if glyph != ".notdef")

    def bitmap(self, point: int, size: float = RASTER, stroke: int = 0) -> np.ndarray:
        """The letter cropped to its ink, (h, w) uint8, ink 255; (0, 0) without ink.

        Args:
            size: font size in pixels.
            stroke: pixels added on each side of the outline.
        """
        from PIL import Image, ImageDraw, ImageFont

        # the basic layout works without a text shaping library, which Pillow may lack
        font = ImageFont.truetype(self.path, size, layout_engine=ImageFont.Layout.BASIC)
        left, top, right, bottom = font.getbbox(chr(point), stroke_width=stroke)
        canvas = Image.new("L", (math.ceil(right - left) + 2, math.ceil(bottom - top) + 2))
        corner = 1 - math.floor(left), 1 - math.floor(top)
        ImageDraw.Draw(canvas).text(corner, chr(point), 255, font, stroke_width=stroke)
        ink = canvas.getbbox()
        return np.asarray(canvas.crop(ink)) if ink else np.zeros((0, 0), np.uint8)


def font_folder() -> Path:
    """Font folder of matplotlib, found without the slow import of matplotlib."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise Refused("data=glyphs: needs the fonts of matplotlib, which is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def letters(points: Iterable[int]) -> dict[int, str]:
    """Script (ISO 15924, e.g. `Grek`) of each letter in `points`, sorted by code point.

    Letters with a Unicode decomposition (À = A and an accent, ﬁ = f i, ﻉ = ع at the start of a
    word) are left out: they would add many variants to Latin, Greek and Arabic that differ in only
    a few pixels at 28×28.
    """
    from fontTools.unicodedata import script

    return {
        point: script(chr(point))
        for point in sorted(points)
        if unicodedata.category(chr(point)) in ("Lu", "Ll", "Lt", "Lo")
        and not unicodedata.decomposition(chr(point))
    }


def overlaps(bitmaps: Sequence[np.ndarray]) -> np.ndarray:
    """Dice overlap of each pair of letters, (n, n) in [0, 1], regardless of position and size.

    Case pairs such as `s S` and `o O` overlap almost fully: as drawings vary in size and position,
    they are not distinguishable.
    """
    # integer values in float64, so that the products are exact with every BLAS library
    flat = np.stack([_standard(bitmap) for bitmap in bitmaps]).reshape(len(bitmaps), -1)
    ink = (flat * flat).sum(axis=1)
    return 2 * (flat @ flat.T) / (ink[:, None] + ink[None, :])


def distinct(overlap: np.ndarray) -> list[int]:
    """Greedy selection of letters that do not look like any letter selected before; positions.

    A letter is compared with selected letters only, so chains of similar letters do not merge.
    """
    selected: list[int] = []
    for i in range(len(overlap)):
        if not selected or overlap[i, selected].max() < ALIKE:
            selected.append(i)
    return selected


def _standard(bitmap: np.ndarray) -> np.ndarray:
    """The letter scaled to fill a square and centred, (SIDE, SIDE) float in [0, 255]."""
    from PIL import Image

    height, width = bitmap.shape
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = Image.new("L", (SIDE, SIDE))
    corner = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    square.paste(Image.fromarray(bitmap).resize(size, Image.Resampling.BOX), corner)
    return np.asarray(square, dtype=np.float64)
