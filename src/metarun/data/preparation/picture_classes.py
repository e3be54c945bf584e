"""Preparation of all pictures of a listing; reports all unusable files together."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from metarun.data.duplicates import named
from metarun.data.preparation import pictures
from metarun.data.preparation.cache import prepared
from metarun.data.preparation.class_folders import MIN_FILES, Listing, printable
from metarun.data.preparation.images import Class, Images
from metarun.data.preparation.pixels import UNKNOWN, Broken, Depth, Span
from metarun.errors import Refused

PREPARATION = 2  # increase it when the array prepared from the same files changes
MAX_LISTED = 10  # unusable files named in an error; the others are counted
DARK = 64  # of 255: if no pixel of a data set is brighter, its range is probably wrong
PROGRESS_INTERVAL = 10.0  # seconds between progress messages

log = logging.getLogger(__name__)


def prepare(
    cache: Path,
    listing: Listing,
    size: int,
    colour: bool,
    skip_broken: bool | None = None,
    span: Span | None = None,
    fit: pictures.Fit = "crop",
) -> Images:
    """All classes of `listing`, each picture (C, size, size) uint8; see `pictures.picture`.

    Each source folder, size, colour, span and fit has its own folder in `cache`. The cached data
    set is valid until a file is added, removed or modified.

    Args:
        skip_broken: whether to leave out unusable files, and classes with fewer than 2 usable
            ones, with a warning. `None` if the data set does not offer this choice.
        span: pixel values of black and white if set by the user; by default that of the data set.
        fit: see `pictures.picture`.

    Raises:
        Refused: with a line for each unusable file and class, or the cache is not writable.
    """
    fitted = "" if fit == "crop" else f" {fit}"
    place = f"{listing.root.resolve()}\n{size} {colour} {span}{fitted}"
    folder = cache / hashlib.sha256(place.encode("utf-8", "backslashreplace")).hexdigest()[:12]
    notes: dict[str, Any] = {}
    settings = (size, colour, skip_broken, span)
    key = _key(f"{PREPARATION} {' '.join(map(str, settings))}{fitted}", listing, skip_broken)
    root = listing.root.resolve()
    images = prepared(folder, key, lambda: _decoded(listing, *settings, fit, notes), notes, root)
    if skip_broken:
        _warn_of_missing(listing, images)
    for line in _warnings(images.notes):
        log.warning("data.root=%s: %s", listing.root, line)
    return images


def _key(settings: str, listing: Listing, skip_broken: bool | None) -> str:
    """Cache key: the settings, and the name, size and time of each file.

    The version of Pillow is left out, so that an upgrade does not change the data of resumed runs.
    """
    digest = hashlib.sha256(f"{settings}\n".encode())
    for name, files in listing.classes.items():
        lines = [repr((file.name, file.bytes, file.mtime_ns)) for file in files]
        digest.update("\n".join([repr(name), *lines, ""]).encode())
    if not skip_broken:  # mistakes are raised even if an earlier state is cached
        digest.update(repr(listing.mistakes).encode())
    return f"pictures {digest.hexdigest()}"


def _decoded(
    listing: Listing,
    size: int,
    colour: bool,
    skip_broken: bool | None,
    span: Span | None,
    fit: pictures.Fit,
    notes: dict[str, Any],
) -> Iterator[Class]:
    """Yield the classes one by one, and store the `_summary` of their files in `notes`."""
    files = {f"{name}/{f.name}": f.path for name, fs in listing.classes.items() for f in fs}
    measured = zip(files, pictures.depths(list(files.values())), strict=True)
    depths = {
        name: depth
        for name, depth in measured
        if isinstance(depth, Depth) and (span is not None or depth.range_known)
    }
    span = span or common_span(depths.values())
    notes |= {**_summary(depths, span), "lightest": 0}
    mistakes, usable_classes = list(listing.mistakes), 0
    total, done, last_progress = sum(map(len, listing.classes.values())), 0, time.monotonic()
    for name, files in listing.classes.items():
        read = pictures.read_pictures([file.path for file in files], size, colour, span, fit)
        results = list(zip(files, read, strict=True))
        usable = [(file, p) for file, p in results if isinstance(p, np.ndarray)]
        bad = [(file.path, why) for file, why in results if isinstance(why, Broken)]
        mistakes += [f"{printable(path)}: cannot be read ({why})" for path, why in bad]
        if len(usable) >= MIN_FILES and (skip_broken or not mistakes):
            usable_classes += 1
            notes["lightest"] = max(notes["lightest"], *(int(p.max()) for _, p in usable))
            yield Class(name, np.stack([p for _, p in usable]), [file.name for file, _ in usable])
        done += len(files)
        if time.monotonic() - last_progress > PROGRESS_INTERVAL:
            last_progress = time.monotonic()
            log.info("%d of %d pictures", done, total)
    lines = first(mistakes, listing.root)
    if skip_broken and usable_classes:
        for line in lines:
            log.warning("%s", line)
    elif mistakes:
        if skip_broken is False:
            lines[-1] += "; data.skip_broken=true skips unusable files and classes"
            if any(UNKNOWN in line for line in lines):
                lines[-1] += "; data.pixel_range=[LOW,HIGH] sets the values of black and white"
        raise Refused(*lines)


def first(mistakes: list[str], root: Path) -> list[str]:
    """The first of these lines, and a line with the number of the others, if any."""
    more = len(mistakes) - MAX_LISTED
    rest = [f"data.root={root}: {more} more like these"] if more > 0 else []
    return [*mistakes[:MAX_LISTED], *rest]


def _warn_of_missing(listing: Listing, images: Images) -> None:
    """Warn of left-out files at every start, from the counts alone."""
    counts = dict(zip(images.names, images.counts, strict=True))
    fewer = {n: len(files) - counts.get(n, 0) for n, files in listing.classes.items()}
    short = [f"{name}: {count}" for name, count in fewer.items() if count]
    short += [line.rpartition(": ")[0] for line in listing.mistakes]
    if short:
        text = "data.skip_broken=true: unusable and left out of %s: %s"
        log.warning(text, listing.root, named(short))


def common_span(depths: Iterable[Depth]) -> Span:
    """The span of a data set: 0 to the maximum of the smallest bit depth that holds all values."""
    bits = max((depth.bits for depth in depths if depth.wide), default=0)
    return Span(0, 2**bits - 1) if bits else Span()


def _summary(depths: Mapping[str, Depth], span: Span) -> dict[str, Any]:
    """Summary of the pictures of a data set, given by name; plain containers.

    `range`: the span, or `None` if all have 8 bits; `bits`: bit depth → number of pictures and
    name of the first; `beyond`: number of pictures with values outside the span.
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


def _warnings(summary: Mapping[str, Any]) -> list[str]:
    """Warnings about the pictures, given at every start."""
    lines, bits = [], summary["bits"]
    low, high = summary["range"] or (0, 255)
    if len(bits) > 1:
        kinds = [f"{used} in {count} ({first}, …)" for used, (count, first) in bits.items()]
        lines.append(
            f"pictures have different bit depths: {', '.join(kinds)}; all values of more than 8 "
            f"bits are read from {low:g} (black) to {high:g} (white): if the pictures come from "
            "different devices, scale them beforehand"
        )
    if summary["beyond"]:
        lines.append(
            f"data.pixel_range=[{low:g},{high:g}]: {summary['beyond']} pictures have values "
            "outside it, which become black or white"
        )
    if summary["lightest"] < DARK:
        lines.append(
            f"no pixel is brighter than {summary['lightest']} of 255; if white is less than "
            f"{high:g} in the files, set data.pixel_range=[LOW,HIGH]"
        )
    return lines
