"""Thumbnails of prepared items."""

from __future__ import annotations

import base64
import io

import numpy as np
import pytest
from PIL import Image

from metarun.predict.page import SIDE, thumbnail


def pixels(item: np.ndarray) -> np.ndarray:
    """The grey pixels of a thumbnail."""
    kind, content = thumbnail(item).split(",")
    assert kind == "data:image/webp;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(content))).convert("L"))


def test_low_frequencies_of_a_spectrogram_are_below_and_time_is_stretched():
    item = np.zeros((1, 128, 31), np.float32)
    item[0, :32] = 3.0  # normalised values have any range
    grey = pixels(item)
    assert grey.shape[0] == SIDE and abs(grey.shape[1] - SIDE) < 8
    assert grey[-20:].min() > 200 and grey[:60].max() < 50


def test_a_silent_spectrogram_is_black():
    assert pixels(np.full((1, 32, 32), -2.0, np.float32)).max() < 4  # WebP rounds


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_keeps_its_values(channels):
    assert abs(int(pixels(np.full((channels, 40, 40), 120, np.uint8)).mean()) - 120) < 3


def test_vectors_have_no_picture():
    assert thumbnail(np.zeros(8, np.float32)) == ""
