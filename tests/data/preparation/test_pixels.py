"""Pixel values of more than 8 bits: one span per data set, equal pictures at every bit depth."""

from __future__ import annotations

import logging
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from metarun.data.image_folder import ImageFolder
from metarun.data.preparation.pictures import Broken, depths, picture, read_pictures
from metarun.data.preparation.pixels import Span
from metarun.errors import Refused

BITS = (8, 10, 12, 14, 16)


def values(bits: int, shape: tuple[int, ...] = (40, 40), seed: int = 0) -> np.ndarray:
    """Values from 0 to the maximum of `bits` bits."""
    share = np.random.default_rng(seed).random(shape)
    share.flat[:2] = 0, 1
    return np.rint(share * (2**bits - 1)).astype(np.uint16)


def scaled_up(array: np.ndarray, bits: int) -> np.ndarray:
    return np.rint(array.astype(float) * (0xFFFF / (2**bits - 1))).astype(np.uint16)


def colour_png(path: Path, array: np.ndarray) -> Path:
    """(H, W, bands) uint16 as a 16-bit PNG, which Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    kind = {1: 0, 2: 4, 3: 2, 4: 6}[array.shape[2]]
    header = struct.pack(">IIBBBBB", array.shape[1], array.shape[0], 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    content = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    return path


def colour_tiff(path: Path, array: np.ndarray, orientation: int = 1, planes: int = 1) -> Path:
    """(H, W, bands) uint8 or uint16 as a little-endian TIFF with deflated strips.

    Args:
        planes: 2: a strip for each band.
    """
    height, width, bands = array.shape
    array = array.astype(array.dtype.newbyteorder("<"))
    parts = [array[..., band] for band in range(bands)] if planes == 2 else [array]
    strips = [zlib.compress(np.ascontiguousarray(part).tobytes()) for part in parts]
    photometric = {1: 0, 3: 2, 4: 5}[bands]  # white is zero; RGB; four inks
    end = 8 + 2 + 12 * 12 + 4  # of the directory: 12 entries
    longer = 2 * bands * (bands > 2) + 2 * 4 * len(strips) * (len(strips) > 1)
    starts = [end + longer + sum(map(len, strips[:k])) for k in range(len(strips))]
    tags = [
        *((256, "H", [width]), (257, "H", [height]), (258, "H", [array.itemsize * 8] * bands)),
        *((259, "H", [8]), (262, "H", [photometric]), (273, "I", starts)),
        *((274, "H", [orientation]), (277, "H", [bands]), (278, "H", [height])),
        *((279, "I", list(map(len, strips))), (284, "H", [planes]), (339, "H", [1])),
    ]
    entries, extra = [], b""
    for tag, kind, values in tags:
        packed = struct.pack(f"<{len(values)}{kind}", *values)
        if len(packed) > 4:
            packed, extra = struct.pack("<I", end + len(extra)), extra + packed
        entries.append(struct.pack("<HHI", tag, {"H": 3, "I": 4}[kind], len(values)))
        entries[-1] += packed.ljust(4, b"\0")
    assert len(extra) == longer
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    path.write_bytes(head + b"".join(entries) + struct.pack("<I", 0) + extra + b"".join(strips))
    return path


def folder(root: Path, arrays: dict[str, list[np.ndarray]], suffix: str = "png") -> Path:
    for name, some in arrays.items():
        (root / name).mkdir(parents=True)
        for k, array in enumerate(some):
            Image.fromarray(array).save(root / name / f"{k}.{suffix}")
    return root


def grey(root: Path, bits: int, classes: int = 6, **also: int) -> Path:
    """Classes of 3 pictures of `bits` bits, and classes of other bit depths given by `also`."""
    used = {**{f"c{k}": bits for k in range(classes)}, **also}
    return folder(
        root,
        {
            n: [values(b, seed=10 * k + i) for i in range(3)]
            for k, (n, b) in enumerate(used.items())
        },
    )


def load(root: Path, **keys: Any) -> dict:
    keys = {"size": 40, "colour": False, **keys}
    return ImageFolder(root=str(root), cache=str(root.parent / "cache"), **keys).load()


def items(root: Path, **keys: Any) -> np.ndarray:
    return load(root, **keys)["train"].items.astype(int)


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    found = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
    caplog.clear()
    return found


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_few_bits_give_the_same_pictures_as_16_bits(tmp_path: Path, bits: int, suffix: str) -> None:
    few = {f"c{k}": [values(bits, seed=3 * k + i) for i in range(3)] for k in range(6)}
    many = {name: [scaled_up(array, bits) for array in some] for name, some in few.items()}
    found = items(folder(tmp_path / "few", few, suffix))
    expected = items(folder(tmp_path / "many", many, suffix))
    assert np.abs(found - expected).max() <= 1
    assert (found.min(), found.max()) == (0, 255)


@pytest.mark.parametrize("bits", BITS)
@pytest.mark.parametrize("bands", [1, 2, 3, 4])
def test_16_bit_colours_are_read_exactly(tmp_path: Path, bits: int, bands: int) -> None:
    array = values(bits, (20, 20, bands))
    if bands in (2, 4):
        array[:, :, -1] = 0xFFFF  # opaque
    (known,) = depths([str(colour_png(tmp_path / "x.png", array))])
    assert (known.wide, known.bits) == (True, bits)
    found = picture(str(tmp_path / "x.png"), 20, True, Span(0, 2**bits - 1))
    colours = array[:, :, :3] if bands > 2 else np.repeat(array[:, :, :1], 3, 2)
    assert np.abs(found.transpose(1, 2, 0) - colours * (255 / (2**bits - 1))).max() <= 1


def test_transparent_pixels_are_white_at_any_bit_depth(tmp_path: Path) -> None:
    array = values(12, (8, 8, 4))
    array[:, :, 3] = 0
    file = colour_png(tmp_path / "x.png", array)
    assert picture(str(file), 8, True, Span(0, 4095)).min() == 255


@pytest.mark.parametrize("bits", BITS)
def test_16_bit_colour_tiffs_are_read_exactly(tmp_path: Path, bits: int) -> None:
    array = values(bits, (20, 20, 3))
    file = str(colour_tiff(tmp_path / "x.tif", array))
    (known,) = depths([file])
    assert (known.wide, known.bits) == (True, bits)
    found = picture(file, 20, True, Span(0, 2**bits - 1))
    assert np.abs(found.transpose(1, 2, 0) - array * (255 / (2**bits - 1))).max() <= 1


@pytest.mark.parametrize("orientation", range(1, 9))
def test_tiff_orientation_is_applied_once(tmp_path: Path, orientation: int) -> None:
    array = values(8, (20, 20, 3)).astype(np.uint8)
    eight = colour_tiff(tmp_path / "8.tif", array, orientation)
    sixteen = colour_tiff(tmp_path / "16.tif", array.astype(np.uint16) * 257, orientation)
    expected = picture(str(eight), 20, True)
    assert np.array_equal(picture(str(sixteen), 20, True), expected)
    assert np.array_equal(expected.transpose(1, 2, 0), array) == (orientation == 1)


@pytest.mark.parametrize(
    ("bands", "planes", "reason"), [(3, 2, "layout"), (4, 1, "layout"), (1, 1, "0 is white")]
)
def test_layouts_that_pillow_misreads_are_refused(
    tmp_path: Path, bands: int, planes: int, reason: str
) -> None:
    """Colours in planes, four inks, and grey of which 0 is white, in 16 bits."""
    array = values(12, (20, 20, bands))
    file = str(colour_tiff(tmp_path / "x.tif", array, planes=planes))
    for found in (*depths([file]), *read_pictures([file], 20, True, Span(0, 4095))):
        assert isinstance(found, Broken)
        assert reason in str(found)


def test_a_range_for_a_pgm_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.pgm").write_bytes(b"P5 40 40 4095\n" + values(12).astype(">u2").tobytes())
    (found,) = read_pictures([str(tmp_path / "x.pgm")], 40, False, Span(0, 4095, typed=True))
    assert "define white themselves" in str(found)


def test_a_pgm_defines_white_itself(tmp_path: Path) -> None:
    for name, top in (("dark", 1000), ("light", 4095)):
        array = np.minimum(values(12), top).astype(">u2")
        content = b"P5 40 40 4095\n" + array.tobytes()
        (tmp_path / f"{name}.pgm").write_bytes(content)
        (known,) = depths([str(tmp_path / f"{name}.pgm")])
        assert known.bits == 16
        found = picture(str(tmp_path / f"{name}.pgm"), 40, False)
        assert np.abs(found[0] - array * (255 / 4095)).max() <= 1


@given(
    st.sampled_from([np.uint8, np.uint16, np.int16, np.int32, np.float32]).flatmap(
        lambda kind: st.tuples(
            st.just(kind),
            st.lists(st.integers(-200 if kind is not np.uint8 else 0, 127), min_size=1),
        )
    ),
    st.integers(-100, 100),
    st.integers(1, 100),
)
def test_a_span_is_linear_and_clipped(
    kind_and_numbers: tuple[Any, list[int]], low: int, width: int
) -> None:
    kind, numbers = kind_and_numbers
    array = np.abs(numbers).astype(kind) if kind is np.uint16 else np.array(numbers).astype(kind)
    found = Span(low, low + width)(array)
    expected = [min(max((float(v) - low) / width, 0.0), 1.0) * 255 for v in array]
    assert found.dtype == np.uint8
    assert np.abs(found - np.array(expected)).max() <= 0.5


class TestDataSet:
    def test_all_pictures_share_one_span(self, tmp_path: Path) -> None:
        """A picture that is darker than the others stays darker."""
        root = grey(tmp_path / "mine", 12)
        Image.fromarray(values(12) // 16).save(root / "c0" / "0.png")
        train = load(root)
        split = next(s for s in train.values() if "c0" in s.names)
        dark = split.items[split.first[split.names.index("c0")]]
        assert dark.max() == 16

    def test_8_bit_pictures_are_unchanged(self, tmp_path: Path, caplog: Any) -> None:
        arrays = {f"c{k}": [values(8, seed=k).astype(np.uint8)] * 2 for k in range(6)}
        train = load(folder(tmp_path / "mine", arrays))["train"]
        for name, first in zip(train.names, train.first, strict=True):
            assert np.array_equal(train.items[first, 0], arrays[name][0])
        assert train.notes["range"] is None
        assert said(caplog) == []

    def test_mixed_ranges_give_a_warning_at_every_start(self, tmp_path: Path, caplog: Any) -> None:
        root = grey(tmp_path / "mine", 12, dark=10)
        for _ in range(2):
            train = load(root)["train"]
            (line,) = said(caplog)
            assert line.startswith(f"data.root={root}: pictures have different bit depths: ")
            assert "12 of 16 bits in 18 (c0/0.png, …), 10 of 16 bits in 3 (dark/0.png, …)" in line
            assert "from 0 (black) to 4095 (white)" in line
            assert train.notes["range"] == [0, 4095]

    def test_mixed_8_and_16_bits_give_a_warning(self, tmp_path: Path, caplog: Any) -> None:
        root = grey(tmp_path / "mine", 16)
        Image.fromarray(values(8).astype(np.uint8)).save(root / "c1" / "eight.png")
        load(root)
        (line,) = said(caplog)
        assert "8 bits in 1 (c1/eight.png, …)" in line

    def test_a_black_picture_does_not_count_as_another_range(
        self, tmp_path: Path, caplog: Any
    ) -> None:
        root = grey(tmp_path / "mine", 12)
        Image.fromarray(np.zeros((40, 40), np.uint16)).save(root / "c0" / "black.png")
        load(root)
        assert said(caplog) == []

    def test_signed_and_floating_point_numbers_need_a_range(self, tmp_path: Path) -> None:
        rng = np.random.default_rng(0)
        scans = {f"c{k}": list(rng.integers(-1024, 3072, (3, 40, 40), np.int32)) for k in range(6)}
        for name, some in scans.items():  # so that the extremes are known
            scans[name] = [np.where(np.eye(40, dtype=bool), -1024, array) for array in some]
        root = folder(tmp_path / "scans", scans, "tif")
        with pytest.raises(Refused) as refused:
            load(root)
        lines = refused.value.mistakes
        assert "whole numbers from -1024 to 30" in lines[0]
        assert "data.pixel_range=[LOW,HIGH]" in lines[-1]
        train = load(root, pixel_range=[-1024, 3071])["train"]
        name, first = train.names[0], train.first[0]
        expected = (scans[name][0] + 1024) * (255 / 4095)
        assert np.abs(train.items[first, 0] - expected).max() <= 0.5
        floats = {name: [a.astype(np.float32) / 3071 for a in some] for name, some in scans.items()}
        other = folder(tmp_path / "floats", floats, "tif")
        with pytest.raises(Refused, match=r"floating-point numbers from -0\.33"):
            load(other)
        same = items(root, pixel_range=[-1024, 3071])
        assert np.abs(items(other, pixel_range=[-1024 / 3071, 1]) - same).max() <= 1

    def test_a_skipped_file_does_not_affect_the_range(self, tmp_path: Path, caplog: Any) -> None:
        arrays = {f"c{k}": [values(8, seed=k).astype(np.uint8)] * 3 for k in range(6)}
        root = folder(tmp_path / "mine", arrays)
        Image.fromarray(np.full((40, 40), -5, np.int32)).save(root / "c0" / "signed.tif")
        train = load(root, skip_broken=True)["train"]
        assert train.notes["range"] is None
        assert not any("pixel_range=[0" in line for line in said(caplog))

    def test_nan_is_refused(self, tmp_path: Path) -> None:
        array = np.ones((8, 8), np.float32)
        array[3, 3] = np.nan
        Image.fromarray(array).save(tmp_path / "x.tif")
        for found in (
            *read_pictures([str(tmp_path / "x.tif")], 8, False, Span(0, 1, True)),
            *depths([str(tmp_path / "x.tif")]),
        ):
            assert isinstance(found, Broken)
            assert "not numbers" in str(found)

    def test_a_range_applies_to_8_bit_pictures_too(self, tmp_path: Path, caplog: Any) -> None:
        """E.g. masks with values 0 to 3, which look black."""
        masks = {f"c{k}": list(values(2, (3, 40, 40), k).astype(np.uint8)) for k in range(6)}
        root = folder(tmp_path / "masks", masks)
        load(root)
        assert "no pixel is brighter than 3 of 255" in said(caplog)[0]
        assert set(np.unique(items(root, pixel_range=[0, 3]))) == {0, 85, 170, 255}
        assert said(caplog) == []

    def test_numbers_beyond_the_range_are_counted(self, tmp_path: Path, caplog: Any) -> None:
        root = grey(tmp_path / "mine", 12)
        load(root, pixel_range=[0, 1000])
        assert "pixel_range=[0,1000]: 18 pictures have values outside it" in said(caplog)[0]
        load(root, pixel_range=[0, 4095])
        assert said(caplog) == []

    @pytest.mark.parametrize("wrong", [[1, 1], [2, 1], [0, float("inf")], [float("nan"), 1]])
    def test_an_invalid_range_is_refused(self, tmp_path: Path, wrong: list[float]) -> None:
        with pytest.raises(Refused, match=r"data\.pixel_range=.*LOW < HIGH"):
            load(grey(tmp_path / "mine", 8), pixel_range=wrong)

    def test_the_protocol_records_the_range(self, tmp_path: Path) -> None:
        from metarun.training.protocol import _pixels

        known = load(grey(tmp_path / "mine", 12, dark=10))["test"]
        assert _pixels(known.notes) == {
            "range": [0, 4095],
            "10 of 16 bits": 3,
            "12 of 16 bits": 18,
        }
        assert _pixels({}) is None
