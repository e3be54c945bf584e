"""One picture file → one array, whatever the file's mode, orientation and size."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from metarun.data.preparation.pixels import FULL_SPAN, Broken, Depth, Span, depth, scaled

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

Result = TypeVar("Result")


def depths(files: Sequence[str]) -> list[Depth | Broken]:
    """What numbers each file holds, or why it cannot be read."""

    def measured(file: str) -> Depth:
        with _opened(file) as image:
            return depth(image, file)

    return _each(measured, files)


def read_pictures(
    files: Sequence[str], size: int, colour: bool, span: Span = FULL_SPAN
) -> list[np.ndarray | Broken]:
    """Each file as (C, size, size) uint8, see `picture`, or why it cannot be read."""
    return _each(lambda file: picture(file, size, colour, span), files)


def _each(function: Callable[[str], Result], files: Sequence[str]) -> list[Result | Broken]:
    """Apply the function to each file, on a few threads."""

    def attempt(file: str) -> Result | Broken:
        try:
            return function(file)
        except Broken as broken:
            return broken

    pool = ThreadPoolExecutor(WORKERS)
    try:
        with _no_bombs():
            return list(pool.map(attempt, files))
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for thousands of files


def picture(file: str, size: int, colour: bool, span: Span = FULL_SPAN) -> np.ndarray:
    """The file's (first) picture, (C, size, size) uint8.

    It is brought to 8 bits, laid on white where it is transparent, turned as EXIF says, cut to its
    central square and scaled to `size` by Pillow's bilinear filter, which averages over all source
    pixels when a picture gets smaller (antialiasing).

    Args:
        colour: C is 3, red, green and blue; else 1, grey.
        span: what numbers become black and white.

    Raises:
        Broken: the file cannot be read, is cut off, holds more pixels than Pillow thinks safe, or
            numbers of which the span does not say what they mean.
    """
    from PIL import Image, ImageOps

    with _opened(file) as image:
        eight = scaled(image, file, span)
        eight.load()
        plain = _upright(_opaque(eight, colour), image)
        if span.typed and eight is image:
            plain = plain.point(span(np.arange(256)).tolist() * len(plain.getbands()))
        square = ImageOps.fit(plain, (size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(square)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1) if colour else pixels[None])


@contextmanager
def _opened(file: str) -> Iterator[Image.Image]:
    """The file's picture, whose pixels are not decoded yet.

    Raises:
        Broken: for whatever goes wrong here or while it is entered.
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
    except Exception as error:  # Pillow raises nearly anything on broken files
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise Broken(reason) from error


def _opaque(image: Image.Image, colour: bool) -> Image.Image:
    """A picture of 8 bits in mode RGB or L."""
    from PIL import Image

    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if not colour and image.mode in ("1", "L"):
        return image.convert("L")
    image = image.convert("RGB")
    return image if colour else image.convert("L")


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
