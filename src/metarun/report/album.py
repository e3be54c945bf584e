"""The episode pictures of the page: small copies of the pixels, until their budget is used up."""

from __future__ import annotations

import base64
import hashlib
import io
import warnings
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from metarun.report.untrusted import own

NAME = "episodes.png"
LARGEST = 2**23  # bytes of a file
PIXELS = 8_000_000  # of a picture; more would be slow, or are meant to be
SIDE = 1000  # pixels of the page's copy


@dataclass
class Album:
    """Takes pictures until the budget is used up.

    Attributes:
        left: bytes that the page still has for pictures.
        omitted: how many did not fit.
    """

    left: int = 3 * 2**20
    omitted: int = 0
    _made: dict[str, str] = field(default_factory=dict)

    def take(self, folder: Path) -> tuple[str, str]:
        """The picture of a run as a data URI, or nothing and why."""
        data = own(folder, NAME, LARGEST)
        if data is None:
            return "", ""
        if self.left <= 0:
            self.omitted += 1
            return "", f"{NAME} is left out: the page's room for pictures is used up"
        digest = hashlib.sha256(data).hexdigest()
        if digest not in self._made:
            made = anew(data)
            if made is None:
                return "", f"{NAME} is not a picture that can be shown"
            self.left -= len(made)
            self._made[digest] = f"data:image/webp;base64,{base64.b64encode(made).decode()}"
        return self._made[digest], ""


def anew(data: bytes) -> bytes | None:
    """The pixels of a PNG file as a small WebP; nothing else of the file gets through.

    Returns:
        `None` for what is no PNG, is damaged, or has too many pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow, about the file
            picture = Image.open(io.BytesIO(data), formats=["PNG"])
            if picture.width * picture.height > PIXELS:
                return None
            if picture.mode != "RGB":  # what is transparent becomes white
                plain = picture.convert("RGBA")
                ground = Image.new("RGBA", plain.size, "white")
                picture = Image.alpha_composite(ground, plain)
            flat = picture.convert("RGB")
            flat.thumbnail((SIDE, 2 * SIDE), Image.Resampling.BOX, reducing_gap=None)
            file = io.BytesIO()
            flat.save(file, "WEBP", quality=60, method=2)
            return file.getvalue()
    except Exception:  # Pillow raises errors of many kinds
        return None
