"""The pictures of a listing, prepared once: every file that cannot be used is named together."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from metarun.data.duplicates import named
from metarun.data.preparation import pictures, pixels
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.class_folders import FEWEST, Listing, told
from metarun.data.preparation.images import Class, Images
from metarun.data.preparation.pixels import Broken, Depth, Span
from metarun.errors import Refused

PREPARATION = 2  # raise it when the prepared array changes for equal files
TOLD = 10  # files that cannot be used are named up to here, and counted beyond
NEWS = 10.0  # seconds between lines that say how far the preparation is

log = logging.getLogger(__name__)


def prepare(
    cache: Path,
    listing: Listing,
    size: int,
    colour: bool,
    skip_broken: bool | None = None,
    span: Span | None = None,
) -> Images:
    """All classes of `listing`, each picture (C, size, size) uint8; see `pictures.picture`.

    Every folder and layout has a folder of its own in `cache`. What is kept there holds as long as
    no file is added, removed or written to.

    Args:
        skip_broken: do without files that cannot be used, and without classes that are left with
            fewer than 2; a warning says which. `None` if the user has no such choice.
        span: what numbers become black and white, where somebody said so; else the data set's own.

    Raises:
        Refused: naming the files and classes that cannot be used.
    """
    place = f"{listing.root.resolve()}\n{size} {colour} {span}"
    folder = cache / hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    notes: dict[str, Any] = {}
    settings = (size, colour, skip_broken, span)
    key = _key(f"{PREPARATION} {' '.join(map(str, settings))}", listing, skip_broken)
    images = prepared(folder, key, lambda: _decoded(listing, *settings, notes), notes)
    if skip_broken:
        _say_what_is_missing(listing, images)
    for line in pixels.warnings(images.notes):
        log.warning("data.root=%s: %s", listing.root, line)
    return images


def _key(settings: str, listing: Listing, skip_broken: bool | None) -> str:
    """The settings, and name, size and time of every file. Not Pillow's version: an upgrade
    should not change the data of a run that goes on."""
    digest = hashlib.sha256(f"{settings}\n".encode())
    for name, files in listing.classes.items():
        lines = [repr((file.name, file.bytes, file.mtime_ns)) for file in files]
        digest.update("\n".join([repr(name), *lines, ""]).encode())
    if not skip_broken:  # what is refused is refused again, whatever was kept before
        digest.update(repr(listing.mistakes).encode())
    return f"pictures {digest.hexdigest()}"


def _decoded(
    listing: Listing,
    size: int,
    colour: bool,
    skip_broken: bool | None,
    span: Span | None,
    notes: dict[str, Any],
) -> Iterator[Class]:
    """The classes one after another; `notes` gets what `pixels.summary` says of their files."""
    files = {f"{name}/{f.name}": f.path for name, some in listing.classes.items() for f in some}
    measured = zip(files, pictures.depths(list(files.values())), strict=True)
    depths = {
        name: found
        for name, found in measured
        if isinstance(found, Depth) and (span is not None or found.known)
    }
    span = span or pixels.common(depths.values())
    notes |= {**pixels.summary(depths, span), "lightest": 0}
    mistakes, kept = list(listing.mistakes), 0
    total, done, news = sum(map(len, listing.classes.values())), 0, time.monotonic()
    for name, files in listing.classes.items():
        read = pictures.read_pictures([file.path for file in files], size, colour, span)
        found = list(zip(files, read, strict=True))
        whole = [(file, p) for file, p in found if isinstance(p, np.ndarray)]
        bad = [(file.path, why) for file, why in found if isinstance(why, Broken)]
        mistakes += [f"{told(path)}: cannot be read ({why})" for path, why in bad]
        if len(whole) >= FEWEST and (skip_broken or not mistakes):
            kept += 1
            notes["lightest"] = max(notes["lightest"], *(int(p.max()) for _, p in whole))
            yield Class(name, np.stack([p for _, p in whole]), [file.name for file, _ in whole])
        done += len(files)
        if time.monotonic() - news > NEWS:
            news = time.monotonic()
            log.info("%d of %d pictures", done, total)
    lines = first(mistakes, listing.root)
    if skip_broken and kept:
        for line in lines:
            log.warning("%s", line)
    elif mistakes:
        if skip_broken is False:
            lines[-1] += "; data.skip_broken=true goes on without what cannot be used"
            if any(pixels.UNKNOWN in line for line in lines):
                lines[-1] += "; data.pixel_range=[LOW,HIGH] says what is black and what is white"
        raise Refused(*lines)


def first(mistakes: list[str], root: Path) -> list[str]:
    """The first of these lines, and how many more there are."""
    more = len(mistakes) - TOLD
    rest = [f"data.root={root}: {more} more like these"] if more > 0 else []
    return [*mistakes[:TOLD], *rest]


def _say_what_is_missing(listing: Listing, images: Images) -> None:
    """From the counts alone, so it is said at every start."""
    kept = dict(zip(images.names, images.counts, strict=True))
    fewer = {n: len(files) - kept.get(n, 0) for n, files in listing.classes.items()}
    short = [f"{name}: {count}" for name, count in fewer.items() if count]
    short += [line.rpartition(": ")[0] for line in listing.mistakes]
    if short:
        text = "data.skip_broken=true: left out of %s, since they cannot be used: %s"
        log.warning(text, listing.root, named(short))
