"""One picture file → one array, whatever the file's mode, orientation and size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

# What is opened, whatever a file is called. Not EPS: to read one is to run its program.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
# Names that promise a picture, those of formats that are not opened included: none is passed over.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"),
    *(".pbm", ".pgm", ".ppm", ".pnm", ".avif", ".heic", ".heif", ".jp2", ".jxl"),
)
WORKERS = min(4, os.cpu_count() or 1)  # Pillow decodes without holding the interpreter
ORIENTATION = 0x0112  # the EXIF tag


class Broken(ValueError):
    """A file that is not a picture that can be used; its text is the reason."""


def read(files: Sequence[str], size: int, colour: bool) -> list[np.ndarray | Broken]:
    """Each file as (C, size, size) uint8, in the order given, decoded on a few threads.

    Args:
        colour: C is 3, red, green and blue; else 1, grey.

    Returns:
        for each file its picture, or why there is none.
    """

    def attempt(file: str) -> np.ndarray | Broken:
        try:
            return picture(file, size, colour)
        except Broken as broken:
            return broken

    pool = ThreadPoolExecutor(WORKERS)
    try:
        with _no_bombs():
            return list(pool.map(attempt, files))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for thousands of files


def picture(file: str, size: int, colour: bool) -> np.ndarray:
    """The file's (first) picture, (C, size, size) uint8.

    It is laid on white where it is transparent, turned as EXIF says, cut to its central square and
    scaled to `size` by Pillow's bilinear filter, which averages over all source pixels when a
    picture gets smaller (antialiasing). 16-bit pixels keep their upper 8 bits.

    Raises:
        Broken: the file cannot be read, is cut off, or holds more pixels than Pillow thinks safe.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(file, formats=FORMATS) as image:
            image.load()
            plain = _upright(_opaque(image, colour), image)
            square = ImageOps.fit(plain, (size, size), Image.Resampling.BILINEAR)
    except Broken:
        raise
    except UnidentifiedImageError as error:
        raise Broken(f"not a picture in {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Broken(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow raises nearly anything on broken files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Broken(reason) from error
    pixels = np.asarray(square)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if colour else pixels[None])


def _opaque(image: Image.Image, colour: bool) -> Image.Image:
    """The picture in mode RGB or L."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        image = _eight_bits(image)
    elif image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if not colour and image.mode in ("1", "L"):
        return image.convert("L")
    image = image.convert("RGB")
    return image if colour else image.convert("L")


def _eight_bits(image: Image.Image) -> Image.Image:
    """The upper half of 16-bit pixels; wider ones have no range that could be known."""
    from PIL import Image

    wide = np.asarray(image)
    if wide.dtype.kind == "f" or wide.min() < 0 or wide.max() > 0xFFFF:
        raise Broken(f"pixels of an unknown range (mode {image.mode}); 8 or 16 bits are known")
    return Image.fromarray((wide.astype(np.uint32) >> 8).astype(np.uint8))


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Turned and mirrored as the EXIF data of its source says, if there is any that can be read."""
    from PIL.Image import Transpose as T

    try:
        told = source.getexif().get(ORIENTATION)
    except Exception:  # a picture does not become unusable by what a camera noted beside it
        return image
    turn = {
        **{2: T.FLIP_LEFT_RIGHT, 3: T.ROTATE_180, 4: T.FLIP_TOP_BOTTOM, 5: T.TRANSPOSE},
        **{6: T.ROTATE_270, 7: T.TRANSVERSE, 8: T.ROTATE_90},
    }.get(told)
    return image if turn is None else image.transpose(turn)


@contextmanager
def _no_bombs() -> Iterator[None]:
    """Pillow's warning of an implausibly large picture is an error, its other warnings are silent.

    Filters of warnings hold for all threads, so they are set around the pool and not in it.
    """
    from PIL import Image

    Image.init()  # all formats at once: not by several threads
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
