"""Reading of picture files of any mode, orientation and size as arrays of one form."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np

from metarun.data.preparation.pixels import FULL_SPAN, Broken, Depth, Span, depth, scaled

if TYPE_CHECKING:
    from PIL import Image

# Formats that are opened, regardless of the suffix. Reading EPS would run a program.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
READABLE = (  # suffixes
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp",
    ".pbm", ".pgm", ".ppm", ".pnm",
)  # fmt: skip
# Suffixes of pictures, including formats that cannot be opened, so that none is silently skipped.
SUFFIXES = (*READABLE, ".avif", ".heic", ".heif", ".jp2", ".jxl")
WORKERS = min(4, os.cpu_count() or 1)  # Pillow releases the GIL while decoding
ORIENTATION = 0x0112  # the EXIF tag

Fit = Literal["crop", "pad", "stretch"]

Result = TypeVar("Result")


def depths(files: Sequence[str]) -> list[Depth | Broken]:
    """Bit depth and range of each file, or why it cannot be read."""

    def measure(file: str) -> Depth:
        with _opened(file) as image:
            return depth(image, file)

    return _map_files(measure, files)


def read_pictures(
    files: Sequence[str], size: int, colour: bool, span: Span = FULL_SPAN, fit: Fit = "crop"
) -> list[np.ndarray | Broken]:
    """Each file as (C, size, size) uint8, see `picture`, or why it cannot be read."""
    return _map_files(lambda file: picture(file, size, colour, span, fit), files)


def _map_files(function: Callable[[str], Result], files: Sequence[str]) -> list[Result | Broken]:
    """Apply `function` to each file, in threads; `Broken` is returned, not raised."""

    def attempt(file: str) -> Result | Broken:
        try:
            return function(file)
        except Broken as broken:
            return broken

    pool = ThreadPoolExecutor(WORKERS)
    try:
        with _bombs_as_errors():
            return list(pool.map(attempt, files))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for thousands of files


def picture(
    file: str, size: int, colour: bool, span: Span = FULL_SPAN, fit: Fit = "crop"
) -> np.ndarray:
    """The (first) picture of the file, (C, size, size) uint8.

    It is converted to 8 bits, blended with white where it is transparent, oriented by its EXIF tag,
    and scaled to `size` by Pillow's bilinear filter with antialiasing.

    Args:
        colour: C is 3, RGB, if true; else 1, grey.
        span: pixel values of black and white.
        fit: `crop` takes the central square; `pad` scales the whole picture, with black bars at two
            sides; `stretch` changes its proportions.

    Raises:
        Broken: the file cannot be read, is cut off, exceeds Pillow's limit of pixels, or has pixel
            values for which the span is not defined.
    """
    from PIL import Image, ImageOps

    with _opened(file) as image:
        eight = scaled(image, file, span)
        eight.load()
        plain = _upright(_opaque(eight, colour), image)
        if span.typed and eight is image:
            plain = plain.point(span(np.arange(256)).tolist() * len(plain.getbands()))
        resize = {"crop": ImageOps.fit, "pad": ImageOps.pad, "stretch": type(plain).resize}[fit]
        square = resize(plain, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(square)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if colour else pixels[None])


@contextmanager
def _opened(file: str) -> Iterator[Image.Image]:
    """Open the file; its pixels are not decoded yet.

    Raises:
        Broken: in place of any error here or in the body of the `with` statement.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(file, formats=FORMATS) as image:
            yield image
    except Broken:
        raise
    except UnidentifiedImageError as error:
        raise Broken(f"not a picture in {', '.join(FORMATS)}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise Broken(f"more than {Image.MAX_IMAGE_PIXELS:,} pixels") from error
    except Exception as error:  # Pillow raises various exceptions for damaged files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Broken(reason) from error


def _opaque(image: Image.Image, colour: bool) -> Image.Image:
    """Convert an 8-bit picture to mode RGB or L, blending transparent pixels with white."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if not colour and image.mode in ("1", "L"):
        return image.convert("L")
    image = image.convert("RGB")
    return image if colour else image.convert("L")


def _upright(image: Image.Image, source: Image.Image) -> Image.Image:
    """Rotate and mirror a picture by the EXIF orientation of `source`, if readable."""
    from PIL.Image import Transpose as T

    try:
        orientation = source.getexif().get(ORIENTATION)
    except Exception:  # invalid EXIF data does not make a picture unusable
        return image
    turn = {
        2: T.FLIP_LEFT_RIGHT,
        3: T.ROTATE_180,
        4: T.FLIP_TOP_BOTTOM,
        5: T.TRANSPOSE,
        6: T.ROTATE_270,
        7: T.TRANSVERSE,
        8: T.ROTATE_90,
    }.get(orientation)
    return image if turn is None else image.transpose(turn)


@contextmanager
def _bombs_as_errors() -> Iterator[None]:
    """Raise Pillow's decompression bomb warning as an error and silence its other warnings.

    Warning filters apply to all threads, so they are set around the pool, not in its threads.
    """
    from PIL import Image

    Image.init()  # loads all formats; not thread-safe
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield
