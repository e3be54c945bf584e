"""The numbers in a picture's file: those of more than 8 bits, and what becomes black and white."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

FULL = 0xFFFF  # white in a file of 16 bits
# Pillow's raw modes that give the upper and the lower byte of each number: a big-endian file read
# as a little-endian one gives the lower. N is the machine's own order.
OTHER = {"B": "L", "L": "B", "N": {"little": "B", "big": "L"}[sys.byteorder]}
HALVES = {
    f"{mode};16{order}": (f"{mode};16{order}", f"{mode};16{other}")
    for mode in ("RGB", "RGBA")
    for order, other in OTHER.items()
} | {"LA;16B": ("RGBA", "RGBA")}
PHOTOMETRIC, WHITE_IS_ZERO = 262, 0  # tags of a TIFF, and values of theirs
PLANES, SEPARATE = 284, 2
PNG_DEPTH, TIFF_DEPTH = 24, 258  # where a PNG says its bits (a byte), and a TIFF (a tag)
UNKNOWN = "their range is not known"
DARK = 64  # of 255: where no pixel of a data set is lighter, something is wrong with its range


class Broken(ValueError):
    """A file that is not a picture that can be used; its text is the reason."""


@dataclass(frozen=True)
class Span:
    """The numbers that become 0 and 255, the same for every picture of a data set.

    Attributes:
        typed: somebody said so: it holds for numbers of any kind, those of 8 bits included. Else it
            holds for whole numbers of 16 bits, and those of 8 bits stay as they are.
    """

    low: float = 0
    high: float = FULL
    typed: bool = False

    def __call__(self, values: np.ndarray) -> np.ndarray:
        """Numbers of any kind → uint8, rounded; beyond the span is 0 or 255."""
        share = (values.astype(np.float64) - self.low) / (self.high - self.low)
        return np.rint(share.clip(0, 1) * 255).astype(np.uint8)


FULL_SPAN = Span()


class Depth(NamedTuple):
    """What numbers a file holds.

    Attributes:
        wide: more than 8 bits each.
        bits: in use: 8; or, of whole numbers in a wide file, the fewest of 8, 10, 12, 14, 16 that
            hold all of them; 0 if they are all 0, or of another kind.
        low, high: the smallest and the largest in a wide file.
    """

    wide: bool
    bits: int
    low: float = 0
    high: float = 255

    @property
    def known(self) -> bool:
        """Whether such numbers can be read without somebody saying what they mean."""
        return self.bits > 0 or (self.low, self.high) == (0, 0)


def depth(image: Image.Image, file: str) -> Depth:
    """Of an opened picture; one of 8 bits is not decoded."""
    values = wide(image, file)
    if values is None:
        return Depth(False, 8)
    if values.ndim == 3 and values.shape[2] in (2, 4):  # how opaque a pixel is does not count
        values = values[:, :, :-1]
    low, high = float(values.min()), float(values.max())
    if image.format == "PPM" and values.dtype.kind != "f":
        return Depth(True, 16, low, high)  # Pillow has scaled by what the file calls white
    whole = values.dtype.kind != "f" and low >= 0 and 0 < high <= FULL
    return Depth(True, max(8, (int(high).bit_length() + 1) // 2 * 2) if whole else 0, low, high)


def wide(image: Image.Image, file: str) -> np.ndarray | None:
    """(H, W) or (H, W, bands) of more than 8 bits each, or `None` for a picture of 8 bits.

    Raises:
        Broken: some are not numbers, or it is not known how they are to be read.
    """
    if not is_wide(image, file):
        return None
    if image.format == "TIFF" and image.tag_v2.get(PHOTOMETRIC) == WHITE_IS_ZERO:
        raise Broken("0 is white in this TIFF of 16 bits; save it with 0 for black")
    grey = image.mode.startswith(("I", "F"))
    values = np.asarray(image) if grey else _in_full(image, file)
    image.load()  # a TIFF is turned as its tag says, which is then gone
    if not np.isfinite(values).all():
        raise Broken("some pixels are not numbers (NaN or infinite)")
    return values


def scaled(image: Image.Image, file: str, span: Span) -> Image.Image:
    """The picture in 8 bits.

    Raises:
        Broken: the span does not say what its numbers mean.
    """
    from PIL import Image

    if span.typed and image.format == "PPM" and image.mode != "F":  # scaled by Pillow already
        raise Broken("a PGM or PPM says itself what white is: leave data.pixel_range out")
    values = wide(image, file)
    if values is None:
        return image
    low, high = values.min(), values.max()
    if not span.typed and (values.dtype.kind == "f" or low < 0 or high > FULL):
        kind = "floating-point" if values.dtype.kind == "f" else "whole"
        raise Broken(f"{kind} numbers from {low:g} to {high:g}: {UNKNOWN}")
    eight = span(values)
    if values.ndim == 3 and values.shape[2] in (2, 4):  # how opaque is no matter of brightness
        eight[:, :, -1] = values[:, :, -1] >> 8
    return Image.fromarray(eight)


def common(depths: Iterable[Depth]) -> Span:
    """The span of a data set: white is the largest number of the fewest bits that hold all."""
    bits = max((depth.bits for depth in depths if depth.wide), default=0)
    return Span(0, 2**bits - 1) if bits else Span()


def summary(depths: Mapping[str, Depth], span: Span) -> dict[str, Any]:
    """What to remember of the pictures of a data set, by name; plain numbers and strings.

    `range`: the span, or None if all have 8 bits; `bits`: those in use → how many pictures and the
    first of them; `beyond`: how many have numbers beyond the span.
    """
    bits: dict[str, list[Any]] = {}
    for name, depth in depths.items():
        if depth.bits:
            used = f"{depth.bits} of 16 bits" if depth.wide else "8 bits"
            bits.setdefault(used, [0, name])[0] += 1
    wide = [depth for depth in depths.values() if depth.wide]
    beyond = sum(depth.low < span.low or depth.high > span.high for depth in wide)
    used = [span.low, span.high] if span.typed or wide else None
    return {"range": used, "bits": bits, "beyond": beyond}


def warnings(summary: Mapping[str, Any]) -> list[str]:
    """What to say of the pictures whenever they are used."""
    lines, bits = [], summary["bits"]
    low, high = summary["range"] or (0, 255)
    if len(bits) > 1:
        kinds = [f"{used} in {count} ({first}, …)" for used, (count, first) in bits.items()]
        lines.append(
            f"pictures use numbers of different size: {', '.join(kinds)}; those of more than 8 "
            f"bits are all read from {low:g} (black) to {high:g} (white): if their devices differ, "
            "scale them beforehand"
        )
    if summary["beyond"]:
        lines.append(
            f"data.pixel_range=[{low:g},{high:g}]: {summary['beyond']} pictures have numbers "
            "beyond it, which become black or white"
        )
    if summary["lightest"] < DARK:
        lines.append(
            f"no pixel is lighter than {summary['lightest']} of 255; if white is less than "
            f"{high:g} in the files, say so: data.pixel_range=[LOW,HIGH]"
        )
    return lines


def is_wide(image: Image.Image, file: str) -> bool:
    """Whether the file has more than 8 bits for a number; from its header."""
    if image.mode.startswith(("I", "F")):
        return True
    if image.format == "PNG":
        with open(file, "rb") as stream:
            return stream.read(PNG_DEPTH + 1)[-1] > 8
    if image.format == "TIFF":
        return max(image.tag_v2.get(TIFF_DEPTH, (8,))) > 8
    return False


def _in_full(image: Image.Image, file: str) -> np.ndarray:
    """(H, W, bands) uint16. Pillow has colours of 8 bits only: it is asked for each half of 16.

    Raises:
        Broken: the bytes of a pixel lie in another order than the known ones.
    """
    kinds = {tile.args if isinstance(tile.args, str) else tile.args[0] for tile in image.tile}
    planes = image.format == "TIFF" and image.tag_v2.get(PLANES) == SEPARATE
    kind = kinds.pop() if len(kinds) == 1 and not planes else ""
    upper, lower = HALVES.get(kind, ("", ""))
    if not upper:
        raise Broken("colours of 16 bits in a layout that is not known; save it as PNG")
    high, low = (np.asarray(_read_as(kind, file), np.uint16) for kind in (upper, lower))
    if kind.startswith("LA"):  # four bytes a pixel: both halves of the grey, both of the opacity
        return high[:, :, 0::2] << 8 | high[:, :, 1::2]
    return high << 8 | low


def _read_as(kind: str, file: str) -> Image.Image:
    """The picture, its bytes taken for one of Pillow's raw modes."""
    from PIL import Image

    with Image.open(file, formats=["PNG", "TIFF"]) as image:
        image.tile = [
            tile._replace(args=kind if isinstance(tile.args, str) else (kind, *tile.args[1:]))
            for tile in image.tile
        ]
        image.load()
        return image
