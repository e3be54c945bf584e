"""Letters of a font: which there are, by script, and which of them look different."""

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
SIDE = 32  # pixels: letters are compared with their longer side brought to this
ALIKE = 0.88  # overlap (Dice) from which two letters count as one


class Face:
    """One font file: its letters and their bitmaps."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @cached_property
    def points(self) -> frozenset[int]:
        """Code points that the font draws with a glyph of its own."""
        from fontTools.ttLib import TTFont

        with TTFont(self.path, lazy=True) as font:
            table = font.getBestCmap()
            return frozenset(point for point, glyph in table.items() if glyph != ".notdef")

    def bitmap(self, point: int, size: float = RASTER, stroke: int = 0) -> np.ndarray:
        """The letter cropped to its ink, (h, w) uint8, ink 255; (0, 0) if it has none.

        Args:
            size: font size in pixels.
            stroke: pixels added on each side of the outline.
        """
        from PIL import Image, ImageDraw, ImageFont

        # the basic layout needs no text shaping library, which Pillow may lack
        font = ImageFont.truetype(self.path, size, layout_engine=ImageFont.Layout.BASIC)
        left, top, right, bottom = font.getbbox(chr(point), stroke_width=stroke)
        canvas = Image.new("L", (math.ceil(right - left) + 2, math.ceil(bottom - top) + 2))
        corner = 1 - math.floor(left), 1 - math.floor(top)
        ImageDraw.Draw(canvas).text(corner, chr(point), 255, font, stroke_width=stroke)
        ink = canvas.getbbox()
        return np.asarray(canvas.crop(ink)) if ink else np.zeros((0, 0), np.uint8)


def font_folder() -> Path:
    """Where matplotlib keeps its fonts, found without importing it (which takes a second)."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or spec.origin is None:
        raise Refused("data=glyphs: matplotlib, whose fonts it draws, is not installed")
    return Path(spec.origin).parent / "mpl-data" / "fonts" / "ttf"


def letters(points: Iterable[int]) -> dict[int, str]:
    """Script (ISO 15924, e.g. `Grek`) of each letter among `points`, in code point order.

    Letters that Unicode takes apart (À = A and an accent, ﬁ = f i, ﻉ = ع at the start of a word)
    are left out: they would flood Latin, Greek and Arabic with variants that differ in a pixel or
    two at 28×28.
    """
    from fontTools.unicodedata import script

    return {
        point: script(chr(point))
        for point in sorted(points)
        if unicodedata.category(chr(point)) in ("Lu", "Ll", "Lt", "Lo")
        and not unicodedata.decomposition(chr(point))
    }


def overlaps(bitmaps: Sequence[np.ndarray]) -> np.ndarray:
    """Dice overlap of each pair of letters, (n, n) in 0…1, wherever they stand and however large.

    Case pairs such as `s S` and `o O` overlap nearly fully: drawings vary in size and position, so
    nobody could tell them apart.
    """
    # whole numbers, so that the products are exact whatever library multiplies them
    flat = np.stack([_standard(bitmap) for bitmap in bitmaps]).reshape(len(bitmaps), -1)
    ink = (flat * flat).sum(axis=1)
    return 2 * (flat @ flat.T) / (ink[:, None] + ink[None, :])


def distinct(overlap: np.ndarray, alike: float = ALIKE) -> list[int]:
    """Positions of the letters that look unlike every earlier one kept.

    A letter is compared with those kept only, so no chain of small steps merges what is unlike.
    """
    kept: list[int] = []
    for i in range(len(overlap)):
        if not kept or overlap[i, kept].max() < alike:
            kept.append(i)
    return kept


def _standard(bitmap: np.ndarray) -> np.ndarray:
    """(SIDE, SIDE) float, 0…255: the longer side fills the square, the ink is centred in it."""
    from PIL import Image

    height, width = bitmap.shape
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    square = Image.new("L", (SIDE, SIDE))
    corner = (SIDE - size[0]) // 2, (SIDE - size[1]) // 2
    square.paste(Image.fromarray(bitmap).resize(size, Image.Resampling.BOX), corner)
    return np.asarray(square, dtype=np.float64)
