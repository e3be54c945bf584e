"""Items that a caller in Python gives: their names, and pictures in memory as files.

Labels of such items are tested in `tests/test_interface.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from metarun.data.preparation.pictures import depths, read_pictures
from metarun.errors import Refused
from metarun.predict.given import Given, as_picture, on_files


def test_pictures_are_stored_without_loss_and_deleted(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    wide = as_picture(rng.integers(0, 4096, (6, 6)).astype(np.uint16), "wide")
    colour = as_picture(rng.integers(0, 256, (6, 6, 3)).astype(np.uint8), "colour")
    turned = colour.copy()
    turned.getexif()[0x0112] = 6
    names = ["wide", "colour", "turned", "separated", "float"]
    images = [wide, colour, turned, colour.convert("CMYK"), Image.new("F", (6, 6), 0.5)]
    memory = dict(zip(names, images, strict=True))
    seen: list[str] = []

    def read(paths: Any) -> Any:
        seen.extend(paths)
        return depths(paths), read_pictures(paths, 6, True)

    (of_wide, of_colour, *_, of_float), pixels = on_files(read, memory)(names)
    assert (of_wide.wide, of_wide.bits, of_colour.wide, of_float.low) == (True, 12, False, 0.5)
    np.testing.assert_array_equal(pixels[1], np.asarray(colour).transpose(2, 0, 1))
    np.testing.assert_array_equal(pixels[2], np.rot90(pixels[1], -1, (1, 2)))
    back = np.asarray(colour.convert("CMYK").convert("RGB")).transpose(2, 0, 1)
    np.testing.assert_array_equal(pixels[3], back)
    assert len(seen) == 5 and not any(Path(path).exists() for path in seen)


def test_sentences_are_their_own_names() -> None:
    given = Given("sentences")
    support = {"a": ["one  two", "three"], "b": ["four"]}
    assert given.classes(support) == {"a": ["one two", "three"], "b": ["four"]}
    assert given.query(["five", " "]) == ["five", ""]
    with pytest.raises(Refused, match=r"^query\[0\]: is a int; should be a sentence"):
        given.query([5])
