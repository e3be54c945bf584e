"""Your own pictures, with one folder per class."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from metarun.config.schema import Place
from metarun.data.classes import Split, select
from metarun.data.duplicates import named
from metarun.data.own_folder import Fractions, Name, OwnFolder
from metarun.data.preparation import picture_classes
from metarun.data.preparation.class_folders import Depth, Listing
from metarun.data.preparation.kinds import PICTURES
from metarun.data.preparation.pictures import Fit, read_pictures
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.errors import Refused

log = logging.getLogger(__name__)


class ImageFolder(OwnFolder):
    """Pictures in one folder per class, as squares of one size; see `pictures.picture`.

    Args:
        root, depth, join, fractions, split_seed, split_file: see `OwnFolder`.
        name: name of the set in tables, titles and results; by default that of the folder.
        cache: folder of prepared data sets; the array is kept in its subfolder `image_folder`.
        size: height and width of a prepared picture, in pixels.
        colour: RGB if true, else grey.
        fit: how a picture that is no square becomes one.
        skip_broken: whether to leave out unusable files and classes, with a warning.
        pixel_range: pixel values of black and white, the same for all files; required for signed
            and floating-point values. By default 0 and 255; for 16-bit files, 0 and the maximum
            of the smallest bit depth of 8, 10, 12, 14 and 16 that holds all their values.
    """

    own_items = "pictures"
    kind = PICTURES

    def __init__(
        self,
        *,
        root: Place | None,
        name: Name | None = None,
        cache: Place,
        size: Annotated[int, Field(ge=8, le=1024)] = 84,
        colour: bool = True,
        fit: Fit = "crop",
        depth: Depth = 1,
        join: bool = False,
        fractions: Fractions = (0.6, 0.2, 0.2),
        split_seed: Annotated[int, Field(ge=0)] = 0,
        split_file: Place | None = None,
        skip_broken: bool = False,
        pixel_range: Annotated[list[float], Field(min_length=2, max_length=2)] | None = None,
    ) -> None:
        super().__init__(root, depth, join, fractions, split_seed, split_file)
        self.cache = Path(cache).expanduser() / "image_folder"
        self.size, self.colour, self.fit = size, colour, fit
        self.skip_broken = skip_broken
        if pixel_range is not None and not -math.inf < pixel_range[0] < pixel_range[1] < math.inf:
            raise Refused(f"data.pixel_range={pixel_range}: should be [LOW,HIGH], LOW < HIGH")
        self.span = pixel_range and Span(*pixel_range, typed=True)

    def load(self) -> dict[str, Split]:
        """The splits `train`, `val` and `test`; the first call reads all pictures.

        Raises:
            Refused: with a line for each unusable file and class, or the cache is not writable.
        """
        used = {name for names in self.classes.values() for name in names}
        classes = {name: files for name, files in self.listing.classes.items() if name in used}
        if unused := [name for name in self.listing.classes if name not in used]:
            log.info("classes in no split of %s: %s", self.split_file, named(unused))
        chosen = Listing(self.root, classes, self.listing.mistakes)
        images = picture_classes.prepare(
            self.cache, chosen, self.size, self.colour, self.skip_broken, self.span, self.fit
        )
        if self.listing.stray:
            log.warning("pictures outside class folders, ignored: %s", named(self.listing.stray))
        prepared = set(images.names)
        return {
            split: select(images, [name for name in names if name in prepared])
            for split, names in self.classes.items()
        }

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: (C, size, size) uint8; see `metarun.data`."""
        return read_pictures(files, self.size, self.colour, self.span or span, self.fit)
