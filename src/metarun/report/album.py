"""Re-encodes the episode pictures of runs for the page, within a size budget."""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from metarun.report.untrusted import read_own

NAME = "episodes.png"
MAX_BYTES = 2**23  # of a file
MAX_PIXELS = 8_000_000  # of a picture; decompression bombs have more
SIDE = 1000  # pixels, maximal width of a re-encoded picture


@dataclass
class Album:
    """Re-encodes pictures until the size budget is used up. Equal pictures count once.

    Attributes:
        left: bytes left for pictures.
        omitted: number of pictures that did not fit.
    """

    left: int = 3 * 2**20
    omitted: int = 0
    _uris: dict[str, str] = field(default_factory=dict)  # by digest of the file

    def take(self, folder: Path) -> tuple[str, str]:
        """The picture of a run as a data URI (empty if there is none), and why it is omitted."""
        data = read_own(folder, NAME, MAX_BYTES)
        if data is None:
            return "", ""
        if self.left <= 0:
            self.omitted += 1
            return "", f"{NAME} is left out: the size limit for pictures on this page is reached"
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._uris:
            webp = to_webp(data)
            if webp is None:
                return "", f"{NAME} is not a readable PNG, or too large"
            self.left -= len(webp)
            self._uris[digest] = f"data:image/webp;base64,{base64.b64encode(webp).decode()}"
        return self._uris[digest], ""


def to_webp(data: bytes) -> bytes | None:
    """Re-encode the pixels of a PNG file as a small WebP. Metadata is dropped.

    Returns:
        The WebP file, or `None` if `data` is not a PNG, is damaged, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of unusual files
            picture = Image.open(io.BytesIO(data), formats=["PNG"])
            if picture.width * picture.height > MAX_PIXELS:
                return None
            if picture.mode != "RGB":  # put transparent pixels on white
                rgba = picture.convert("RGBA")
                white = Image.new("RGBA", rgba.size, "white")
                picture = Image.alpha_composite(white, rgba)
            rgb = picture.convert("RGB")
            rgb.thumbnail((SIDE, 2 * SIDE), Image.Resampling.BOX, reducing_gap=None)
            file = io.BytesIO()
            rgb.save(file, "WEBP", quality=60, method=2)
            return file.getvalue()
    except Exception:  # Pillow raises many types of errors
        return None
