"""The labels as one self-contained HTML page without scripts, to look through."""

from __future__ import annotations

import base64
import io
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import FileSystemLoader

from metarun import __version__
from metarun.data.preparation.class_folders import printable
from metarun.data.preparation.pixels import Broken
from metarun.predict.query import UNKNOWN, UNREADABLE, Labelled, prepared_chunks
from metarun.predict.support import Read, Support
from metarun.predict.written import counted_labels, lines
from metarun.report.page import TEMPLATES, policy

HERE = Path(__file__).parent
SHOWN = 1000  # items on a page
OF_SUPPORT = 8  # support items of a class
SIDE = 112  # pixels, maximal width and height of a thumbnail
CHUNK = 64

Shown = dict[str, Any]


def render(labelled: Labelled, support: Support, record: Mapping[str, Any], read: Read) -> str:
    """Render the page: a section for each label, the least probable items of it first.

    Args:
        record: the content of `prediction.json`.
        read: prepares items; those on the page are read again.

    Returns:
        The HTML text.
    """
    chosen = least_probable(labelled)
    thumbnails = _thumbnails(labelled, [i for numbers in chosen.values() for i in numbers], read)
    counted = counted_labels(labelled)
    sections = [
        {
            "label": name,
            "count": counted[name],
            "support": _of_support(support, name),
            "items": [_shown(labelled, i, thumbnails.get(i, "")) for i in numbers],
        }
        for name, numbers in chosen.items()
    ]
    style = (HERE / "page.css").read_text("utf-8")
    templates = TEMPLATES.overlay(loader=FileSystemLoader(HERE))
    return templates.get_template("page.html.j2").render(
        policy=policy([], [style]),
        style=style,
        version=__version__,
        created=time.strftime("%Y-%m-%d %H:%M"),
        record=record,
        lines=lines(labelled, record),
        sections=sections,
        left_out=len(labelled.sources) - sum(map(len, chosen.values())),
    )


def least_probable(labelled: Labelled, most: int = SHOWN) -> dict[str, list[int]]:
    """Numbers of the items of each label, the least probable first, at most `most` of all.

    If there are more, all labels have equal shares, except those with fewer items.
    """
    confidence = np.nan_to_num(labelled.confidence, nan=0.0)
    order = np.argsort(confidence, kind="stable").tolist()
    labels = [name for name, count in counted_labels(labelled).items() if count]
    labels.sort(key=lambda name: (name not in (UNKNOWN, UNREADABLE), name))
    found = {name: [i for i in order if labelled.labels[i] == name] for name in labels}
    left, chosen = most, {}
    for number, name in enumerate(sorted(labels, key=lambda name: len(found[name]))):
        chosen[name] = found[name][: left // (len(labels) - number)]
        left -= len(chosen[name])
    return {name: chosen[name] for name in labels}


def thumbnail(item: np.ndarray) -> str:
    """A prepared picture (1 or 3, H, W) as a data URI; empty for items of other shapes.

    Spectrograms (1, H, W), which are no bytes, are drawn from their lowest to their highest value,
    with high frequencies above, and about as wide as high.
    """
    if item.ndim != 3 or item.shape[0] not in (1, 3):
        return ""
    from PIL import Image

    if item.dtype != np.uint8:
        item = (255 * (item - item.min()) / max(np.ptp(item), 1e-6)).astype(np.uint8)[:, ::-1]
        item = item.repeat(max(1, item.shape[1] // item.shape[2]), axis=2)
    picture = Image.fromarray(item[0] if item.shape[0] == 1 else item.transpose(1, 2, 0))
    picture.thumbnail((SIDE, SIDE))
    file = io.BytesIO()
    picture.convert("RGB").save(file, "WEBP", quality=75)
    return f"data:image/webp;base64,{base64.b64encode(file.getvalue()).decode()}"


def _thumbnails(labelled: Labelled, numbers: list[int], read: Read) -> dict[int, str]:
    """The picture of each of these items that can be read."""
    readable = [i for i in numbers if labelled.labels[i] != UNREADABLE]
    sources, found = [labelled.sources[i] for i in readable], {}
    for start, chunk in prepared_chunks(sources, {}, read, CHUNK):
        for i, item in zip(readable[start:], chunk, strict=False):
            found[i] = "" if isinstance(item, Broken) else thumbnail(item)
    return found


def _of_support(support: Support, name: str) -> list[Shown]:
    if name not in support.names:
        return []
    numbers = np.flatnonzero(support.labels == support.names.index(name))[:OF_SUPPORT]
    return [
        {"name": printable(support.sources[i]), "picture": thumbnail(support.items[i])}
        for i in numbers
    ]


def _shown(labelled: Labelled, i: int, picture: str) -> Shown:
    likeliest, truth = labelled.likeliest[i], labelled.truth[i] if labelled.truth else None
    readable = labelled.labels[i] != UNREADABLE
    return {
        "name": printable(labelled.sources[i]),
        "picture": picture,
        "probability": f"{labelled.confidence[i]:.2f}" if readable else "",
        "likeliest": likeliest if labelled.labels[i] == UNKNOWN else "",
        "wrong": truth if readable and truth is not None and truth != likeliest else "",
        "note": labelled.notes[i],
    }
