"""Pictures of another data set in the shape that a learner was trained on."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from metarun.data.classes import Images, Split, select
from metarun.data.preparation import pictures
from metarun.data.scaled import Scaled, as_trained, picture
from metarun.errors import Refused

RNG = np.random.default_rng(0)


def split(shape: tuple[int, ...], dtype: type = np.uint8) -> Split:
    items = RNG.integers(0, 256, (12, *shape)).astype(dtype)
    return select(Images.of(items, ["a", "b", "c"], [4] * 3), ["a", "b", "c"])


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (1, 20, 20), (3, 40, 40)])
@pytest.mark.parametrize("prepared", [(1, 20, 20), (3, 20, 20)])
def test_a_picture_is_scaled_as_its_file_would_be_read(
    tmp_path, prepared: tuple[int, ...], shape: tuple[int, ...]
) -> None:
    pixels = RNG.integers(0, 256, prepared).astype(np.uint8)
    Image.fromarray(pixels.transpose(1, 2, 0).squeeze()).save(tmp_path / "p.png")
    expected = pictures.picture(str(tmp_path / "p.png"), shape[1], colour=shape[0] == 3)
    np.testing.assert_array_equal(picture(pixels, shape), expected)


def test_the_same_items_are_drawn_and_scaled() -> None:
    small = split((1, 6, 6))
    large = as_trained(small, (3, 12, 12), "own")
    assert (large.shape, large.sha256) == ((3, 12, 12), small.sha256)
    assert large.scaled == {"from": [1, 6, 6], "to": [3, 12, 12]}
    picks = [small.pick(np.random.default_rng(i), 2, 1, 3) for i in range(2)]
    for drawn, scaled in zip(small.gather(picks, 1), large.gather(picks, 1), strict=True):
        if drawn.ndim == 2:  # labels
            np.testing.assert_array_equal(drawn, scaled)
        else:
            assert scaled.shape == (*drawn.shape[:2], 3, 12, 12)
            np.testing.assert_array_equal(scaled[1, 1], picture(drawn[1, 1], (3, 12, 12)))


def test_items_of_the_same_shape_are_left_as_they_are() -> None:
    same = split((1, 6, 6))
    assert as_trained(same, (1, 6, 6), "own") is same
    assert not isinstance(same, Scaled)


@pytest.mark.parametrize(
    ("shape", "inputs", "line"),
    [
        ((5,), (1, 6, 6), "vectors of length 5, and the run was trained on pictures of 1×6×6"),
        ((1, 6, 6), (5,), "pictures of 1×6×6, and the run was trained on vectors of length 5"),
        ((5,), (7,), "vectors of length 5, and the run was trained on vectors of length 7"),
        ((2, 6, 6), (1, 6, 6), "pictures of 2×6×6"),
        ((1, 6, 6), {"left": (5,), "right": (5,)}, "named tensors (left, right)"),
    ],
)
def test_other_items_are_refused(shape: tuple, inputs: object, line: str) -> None:
    with pytest.raises(Refused, match="data=own: its items are") as refused:
        as_trained(split(shape), inputs, "own")
    assert line in refused.value.mistakes[0]
    assert len(refused.value.mistakes) == 1
