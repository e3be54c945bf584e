"""Saves figures as PNG files."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from metarun.files import write_whole

log = logging.getLogger(__name__)


def save(figure: Figure, path: Path) -> Path:
    """Write the figure without its empty margins as a PNG file, atomically; returns the path."""
    FigureCanvasAgg(figure)
    for text in figure.findobj(Text):  # Matplotlib cannot draw names that are not UTF-8
        text.set_text(text.get_text().encode("utf-8", "replace").decode())
    buffer = BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing")  # drawn as a box
        figure.savefig(buffer, format="png", dpi=120, bbox_inches="tight", pad_inches=0.1)
    write_whole(path, buffer.getvalue())
    return path


def drawn(name: str, draw: Callable[[], Path | None]) -> dict[str, Path]:
    """Draw a picture; an error is logged and not raised, so that it cannot lose a result.

    Returns:
        `{name: path}`, or nothing if there is no picture.
    """
    try:
        path = draw()
    except Exception as error:
        log.warning("%s.png could not be drawn (%s: %s)", name, type(error).__name__, error)
        return {}
    return {name: path} if path else {}
