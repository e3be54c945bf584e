"""Pictures of any mode, orientation and size become arrays of one form or give a reason."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import functional

from metarun.data.preparation import pictures
from metarun.data.preparation.pictures import Broken, picture, read_pictures

CORNERS = np.array([[10, 60], [120, 240]], np.uint8)  # all different, so that rotations are visible


def corners(side: int = 8) -> np.ndarray:
    """(side, side) grey, with each of the four values in one quarter."""
    return np.kron(CORNERS, np.ones((side // 2, side // 2), np.uint8))


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth noise in colour."""
    rough = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
    return Image.fromarray(rough).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def saved(tmp_path):
    def save(image: Image.Image, name: str = "x.png", **how: object) -> str:
        image.save(tmp_path / name, **how)
        return str(tmp_path / name)

    return save


def about(file: str, what: str) -> Any:
    with Image.open(file) as image:
        return getattr(image, what)


def why(file: str, size: int = 8) -> str:
    (found,) = read_pictures([file], size, True)
    assert isinstance(found, Broken)
    return str(found)


class TestFit:
    """A picture of 16×8: black, then white in its right half."""

    @pytest.fixture
    def wide(self, saved):
        pixels = np.zeros((8, 16), np.uint8)
        pixels[:, 8:] = 255
        return saved(Image.fromarray(pixels))

    @pytest.mark.parametrize(
        ("fit", "rows", "left", "right"),
        [("crop", 8, 4, 4), ("pad", 4, 4, 4), ("stretch", 8, 4, 4)],
    )
    def test_a_picture_becomes_a_square(self, wide, fit, rows, left, right):
        (square,) = picture(wide, 8, False, fit=fit)
        lit = square > 127
        assert square.shape == (8, 8)
        assert lit.any(1).sum() == rows  # with bars above and below, or none
        assert ((~lit).all(0).sum(), lit.any(0).sum()) == (left, right)

    def test_only_the_crop_leaves_out_the_sides(self, saved):
        pixels = np.zeros((8, 16), np.uint8)
        pixels[:, 0] = 255
        file = saved(Image.fromarray(pixels))
        assert picture(file, 8, False).max() == 0
        assert picture(file, 8, False, fit="pad").max() > 0
        assert picture(file, 8, False, fit="stretch").max() > 0


class TestModes:
    @pytest.mark.parametrize("colour", [True, False])
    def test_grey_in_any_mode_is_the_same_grey(self, saved, colour):
        grey = Image.fromarray(corners())
        wide = Image.fromarray(corners().astype(np.uint16) * 257)
        files = [
            saved(grey, "l.png"),
            saved(grey.convert("RGB"), "rgb.png"),
            saved(grey.convert("RGBA"), "rgba.png"),
            saved(grey.convert("LA"), "la.png"),
            saved(grey.convert("P"), "p.gif"),
            saved(wide, "i16.png"),
            saved(wide, "i16.tif"),
            saved(Image.fromarray(corners().astype(np.int32) * 257), "i.tif"),
            saved(grey, "x.webp", lossless=True),
            saved(grey, "x.pgm"),
            saved(grey, "x.bmp"),
        ]
        assert about(files[5], "mode").startswith("I")
        for file, found in zip(files, read_pictures(files, 8, colour), strict=True):
            assert isinstance(found, np.ndarray), f"{file}: {found}"
            assert found.shape == (3 if colour else 1, 8, 8)
            assert found.dtype == np.uint8
            assert np.array_equal(found, np.stack([corners()] * len(found))), file

    def test_one_bit_is_black_and_white(self, saved):
        image = Image.fromarray(corners() > 100)
        assert image.mode == "1"
        assert set(np.unique(picture(saved(image), 8, False))) == {0, 255}

    def test_cmyk_becomes_rgb(self, saved):
        red = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
        r, g, b = picture(saved(red, "x.jpg", quality=95), 8, True)
        assert r.min() > 200
        assert max(g.max(), b.max()) < 60

    @pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "L", "RGB", "1"])
    def test_transparent_pixels_are_white(self, saved, mode):
        black = Image.new("L", (8, 8), 0)
        if mode in ("RGBA", "LA"):
            black = black.convert(mode)
            black.putalpha(Image.new("L", (8, 8), 0))
            how = {}
        else:
            how = {"transparency": (0, 0, 0) if mode == "RGB" else 0}
        file = saved(black.convert(mode), **how)
        assert about(file, "has_transparency_data")
        assert picture(file, 8, True).min() == 255

    def test_half_transparent_pixels_are_blended_with_white(self, saved):
        assert picture(saved(Image.new("RGBA", (8, 8), (0, 0, 0, 128))), 8, False).mean() == 127

    def test_pixels_without_a_known_range_are_refused(self, saved):
        floats = Image.fromarray(np.full((8, 8), 0.5, np.float32))
        wide = Image.fromarray(np.full((8, 8), 1 << 20, np.int32))
        assert "floating-point numbers from 0.5 to 0.5: their range is not known" in why(
            saved(floats, "f.tif")
        )
        assert "whole numbers from 1.04858e+06" in why(saved(wide, "i.tif"))


class TestOrientation:
    @pytest.mark.parametrize("suffix", ["png", "tif", "webp", "jpg"])
    @pytest.mark.parametrize("orientation", range(1, 9))
    def test_exif_orientation_is_applied(self, saved, orientation, suffix):
        exif = Image.Exif()
        exif[0x0112] = orientation
        how = {"lossless": True} if suffix == "webp" else {}
        file = saved(Image.fromarray(corners(16)), f"x.{suffix}", exif=exif, **how)
        with Image.open(file) as image:
            upright = np.asarray(ImageOps.exif_transpose(image).convert("L"), int)
        found = picture(file, 16, False)[0].astype(int)
        assert np.abs(found - upright).max() <= 3  # JPEG and WebP pass through colour
        if orientation > 1:
            assert np.abs(found - corners(16)).max() > 20

    def test_unreadable_exif_data_is_ignored(self, saved):
        file = saved(Image.fromarray(corners(16)), "x.jpg", exif=b"Exif\x00\x00MM\x00*\xff\xff")
        assert np.abs(picture(file, 16, False)[0].astype(int) - corners(16)).max() < 20


class TestSize:
    @pytest.mark.parametrize("width, height", [(200, 200), (37, 37), (300, 180), (90, 401)])
    def test_it_is_torchvisions_resize_and_centre_crop(self, saved, width, height):
        image = photo(width, height)
        theirs = functional.center_crop(functional.resize(image, 84), 84)
        ours = picture(saved(image), 84, True).transpose(1, 2, 0)
        difference = np.abs(ours.astype(int) - np.asarray(theirs, int))
        # The cut falls between pixels here, and on whole ones there.
        assert difference.max() <= (0 if width == height else 8)

    def test_downscaling_averages_small_details(self, saved):
        stripes = np.tile(np.array([0, 255], np.uint8), (256, 128))
        assert np.abs(picture(saved(Image.fromarray(stripes)), 16, False) - 127.5).max() < 3

    def test_one_pixel_is_enough(self, saved):
        assert picture(saved(Image.new("RGB", (1, 1), "red")), 8, True).shape == (3, 8, 8)

    @pytest.mark.parametrize("suffix", ["gif", "webp"])
    def test_the_first_frame_is_used(self, saved, suffix):
        frames = [Image.new("RGB", (16, 16), c) for c in ("red", "blue", "green")]
        file = saved(frames[0], f"x.{suffix}", save_all=True, append_images=frames[1:])
        assert about(file, "n_frames") == 3
        r, g, b = picture(file, 8, True)
        assert r.min() > 240
        assert max(g.max(), b.max()) < 15


class TestBroken:
    def test_results_are_in_file_order_with_the_reasons(self, saved, tmp_path):
        good = [saved(photo(50, 40, seed), f"{seed}.jpg") for seed in range(6)]
        content = Path(good[0]).read_bytes()
        bad = {
            "cut.jpg": (content[: len(content) // 2], "truncated"),
            "text.jpg": (b"not found", "not a picture"),
            "program.png": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture"),
            "none.png": (b"", "not a picture"),
        }
        for name, (broken, _) in bad.items():
            (tmp_path / name).write_bytes(broken)
        names = [good[0], *(str(tmp_path / n) for n in bad), *good[1:], str(tmp_path / "gone.png")]
        found = read_pictures(names, 8, True)
        assert [isinstance(f, Broken) for f in found] == [False] + [True] * 4 + [False] * 5 + [True]
        for (_, reason), broken in zip(bad.values(), found[1:5], strict=True):
            assert reason in str(broken).lower()
        assert "No such file" in str(found[-1])
        again = [picture(file, 8, True) for file in good]
        assert np.array_equal(np.stack([found[0], *found[5:10]]), np.stack(again))

    @pytest.mark.parametrize("side", [10_000, 60_000])
    def test_a_decompression_bomb_is_refused(self, tmp_path, side):
        def chunk(kind: bytes, body: bytes) -> bytes:
            whole = kind + body
            return struct.pack(">I", len(body)) + whole + struct.pack(">I", zlib.crc32(whole))

        header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
        (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + body)
        assert "89,478,485 pixels" in why(str(tmp_path / "bomb.png"))

    def test_eps_is_not_among_the_formats(self):
        assert not {"EPS", "PDF", "FPX", "WMF"} & set(pictures.FORMATS)

    def test_other_warnings_of_pillow_are_silent(self, saved):
        palette = Image.new("P", (8, 8))
        file = saved(palette, transparency=bytes([0] * 256))  # Pillow warns of such palettes
        assert picture(file, 8, True).min() == 255
