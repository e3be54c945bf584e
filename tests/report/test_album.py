"""Only the pixels of valid PNG files reach the page."""

from __future__ import annotations

import base64
import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from metarun.report.album import MAX_PIXELS, SIDE, Album, to_webp
from tests.report.material import png


def decoded(webp: bytes) -> Image.Image:
    return Image.open(io.BytesIO(webp), formats=["WEBP"])


def test_pixels_are_preserved() -> None:
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[:, :30] = (200, 20, 20)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    shown = np.asarray(decoded(to_webp(file.getvalue())).convert("RGB")).astype(int)
    assert shown.shape == pixels.shape
    assert np.abs(shown[:, :28].mean((0, 1)) - (200, 20, 20)).max() < 12
    assert shown[:, 32:].mean() < 12


def test_a_large_picture_is_made_smaller() -> None:
    assert decoded(to_webp(png(SIDE * 2, 100))).size == (SIDE, 50)


def test_metadata_is_dropped() -> None:
    extra = PngImagePlugin.PngInfo()
    extra.add_text("Comment", "<script>alert(1)</script>")
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=extra)
    assert b"<script>" in file.getvalue()
    assert b"<script>" not in to_webp(file.getvalue())


def bomb() -> bytes:
    """A PNG of a few bytes whose header claims 10^10 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + head + struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + chunk


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"GIF89a\x01\x00\x01\x00",
        png()[:200],
        png().replace(b"IDAT", b"IDAX"),
        bomb(),
        b"\x89PNG\r\n\x1a\n" + b"\xff" * 1000,
    ],
    ids=["empty", "svg", "gif", "cut short", "damaged", "bomb", "noise"],
)
def test_files_that_are_not_valid_png_are_rejected(data: bytes) -> None:
    assert to_webp(data) is None


def test_a_jpeg_is_rejected() -> None:
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG")
    assert to_webp(file.getvalue()) is None


def test_too_many_pixels_are_not_decoded() -> None:
    file = io.BytesIO()
    Image.new("1", (MAX_PIXELS // 1000 + 1, 1000)).save(file, "PNG")
    assert to_webp(file.getvalue()) is None


def test_pictures_beyond_the_size_budget_are_omitted(tmp_path: Path) -> None:
    for i in range(3):
        (tmp_path / str(i)).mkdir()
        (tmp_path / str(i) / "episodes.png").write_bytes(png(seed=i))
    album = Album(left=len(to_webp(png(seed=0))) + 1)  # one byte is left for the second
    taken = [album.take(tmp_path / str(i)) for i in range(3)]
    prefix = "data:image/webp;base64,"
    assert [address.startswith(prefix) for address, _ in taken] == [True, True, False]
    assert base64.b64decode(taken[0][0].removeprefix(prefix)) == to_webp(png(seed=0))
    assert "left out" in taken[2][1]
    assert album.omitted == 1


def test_missing_pictures_links_and_pipes_give_no_picture(tmp_path: Path) -> None:
    assert Album().take(tmp_path) == ("", "")
    (tmp_path / "real.png").write_bytes(png())
    (tmp_path / "episodes.png").symlink_to(tmp_path / "real.png")
    assert Album().take(tmp_path) == ("", "")
    (tmp_path / "episodes.png").unlink()
    os.mkfifo(tmp_path / "episodes.png")
    assert Album().take(tmp_path) == ("", "")
