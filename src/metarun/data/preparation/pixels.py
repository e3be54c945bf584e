"""Pixel values of picture files: more than 8 bits, and conversion to 8 bits."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FULL = 0xFFFF  # white in a 16-bit file
# Pillow's raw modes that give the upper and the lower byte of each value: with swapped byte order,
# Pillow reads the lower byte in place of the upper one. N is the native order.
SWAPPED = {"B": "L", "L": "B", "N": {"little": "B", "big": "L"}[sys.byteorder]}
HALVES = {
    f"{mode};16{order}": (f"{mode};16{order}", f"{mode};16{swapped}")
    for mode in ("RGB", "RGBA")
    for order, swapped in SWAPPED.items()
} | {"LA;16B": ("RGBA", "RGBA")}
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # tags of TIFF files, and their values
PLANES, SEPARATE = 284, 2
PNG_DEPTH, TIFF_DEPTH = 24, 258  # position of the bit depth: byte of a PNG, tag of a TIFF
UNKNOWN = "their range is not known"


class Broken(ValueError):
    """An unusable picture file; the message is the reason."""


@dataclass(frozen=True)
class Span:
    """Pixel values that become 0 and 255, the same for all pictures of a data set.

    Attributes:
        low, high: the two values.
        typed: whether the user set the span. If so, it applies to all values, also of 8 bits;
            otherwise to 16-bit integers only, and 8-bit values are not changed.
    """

    low: float = 0
    high: float = FULL
    typed: bool = False

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Scale values of any type to uint8, rounded and clipped to the span."""
        share = (values.astype(np.float64) - self.low) / (self.high - self.low)
        return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


FULL_SPAN = Span()


class Depth(NamedTuple):
    """Bit depth and range of the pixel values in a file.

    Attributes:
        wide: whether values have more than 8 bits.
        bits: bits in use: 8; for integers in a wide file, the smallest of 8, 10, 12, 14 and 16 that
            holds all values; 0 if all are 0, or for other values.
        low, high: smallest and largest value in a wide file.
    """

    wide: bool
    bits: int
    low: float = 0
    high: float = 255

    @property
    def range_known(self) -> bool:
        """Whether the values can be converted without a span set by the user."""
        return self.bits > 0 or (self.low, self.high) == (0, 0)


def depth(image: Image.Image, file: str) -> Depth:
    """Bit depth and range of an opened picture; 8-bit pictures are not decoded."""
    values = wide(image, file)
    if values is None:
        return Depth(False, 8)
    if values.ndim == 3 and values.shape[2] in (2, 4):  # without the alpha channel
        values = values[:, :, :-1]
    low, high = float(values.min()), float(values.max())
    if image.format == "PPM" and values.dtype.kind != "f":
        return Depth(True, 16, low, high)  # already scaled to 16 bits by Pillow
    whole = values.dtype.kind != "f" and low >= 0 and 0 < high <= FULL
    return Depth(True, max(8, (int(high).bit_length() + 1) // 2 * 2) if whole else 0, low, high)


def wide(image: Image.Image, file: str) -> np.ndarray | None:
    """Pixel values (H, W) or (H, W, bands) of more than 8 bits, or `None` for an 8-bit picture.

    Raises:
        Broken: some values are NaN or infinite, or the layout is not supported.
    """
    if not is_wide(image, file):
        return None
    if image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        raise Broken("0 is white in this 16-bit TIFF; save it with 0 for black")
    grey = image.mode.startswith(("I", "F"))
    values = np.asarray(image) if grey else _read_16_bit(image, file)
    image.load()  # Pillow applies and removes the orientation tag of a TIFF
    if not np.isfinite(values).all():
        raise Broken("some pixels are not numbers (NaN or infinite)")
    return values


def scaled(image: Image.Image, file: str, span: Span) -> Image.Image:
    """Convert a picture to 8 bits.

    Raises:
        Broken: the span is not defined for its values.
    """
    from PIL import Image

    if span.typed and image.format == "PPM" and image.mode != "F":  # already scaled by Pillow
        raise Broken("PGM and PPM files define white themselves; leave data.pixel_range out")
    values = wide(image, file)
    if values is None:
        return image
    low, high = values.min(), values.max()
    if not span.typed and (values.dtype.kind == "f" or low < 0 or high > FULL):
        kind = "floating-point" if values.dtype.kind == "f" else "whole"
        raise Broken(f"{kind} numbers from {low:g} to {high:g}: {UNKNOWN}")
    eight = span(values)
    if values.ndim == 3 and values.shape[2] in (2, 4):  # alpha is not scaled by the span
        eight[:, :, -1] = values[:, :, -1] >> 8
    return Image.fromarray(eight)


def is_wide(image: Image.Image, file: str) -> bool:
    """Whether the header states more than 8 bits per value."""
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "PNG":
        with open(file, "rb") as stream:
            return stream.read(PNG_DEPTH + 1)[-1] > 8
    if image.format == "TIFF":
        return max(image.tag_v2.get(TIFF_DEPTH, (8,))) > 8
    return False


def _read_16_bit(image: Image.Image, file: str) -> np.ndarray:
    """Read 16-bit colours, (H, W, bands) uint16. Pillow supports 8 bits: each byte is read apart.

    Raises:
        Broken: the layout of the pixels is not supported.
    """
    kinds = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile}
    planes = image.format == "TIFF" and image.tag_v2.get(PLANES) == SEPARATE
    kind = kinds.pop() if len(kinds) == 1 and not planes else ""
    upper, lower = HALVES.get(kind, ("", ""))
    if not upper:
        raise Broken("16-bit colours in an unsupported layout; save it as PNG")
    high, low = (np.asarray(_read_as(kind, file), np.uint16) for kind in (upper, lower))
    if kind.startswith("LA"):  # four bytes per pixel: two of grey, two of alpha
        return high[:, :, 0::2] << 8 | high[:, :, 1::2]
    return high << 8 | low


def _read_as(kind: str, file: str) -> Image.Image:
    """Open the file and decode its pixels as Pillow's raw mode `kind`."""
    from PIL import Image

    with Image.open(file, formats=["PNG", "TIFF"]) as image:
        image.tile = [
            tile._replace(args=kind if isinstance(tile.args, str) else (kind, *tile.args[1:]))
            for tile in image.tile
        ]
        image.load()
        return image
