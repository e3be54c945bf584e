"""Pictures reach a pretrained network in its size, channels and normalisation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from metarun.backbones.pretrained import Pretrained
from metarun.errors import Refused


class Flat(Pretrained):
    """Returns the normalised pictures."""

    def __init__(self, shape: tuple[int, ...], size: tuple[int, int] = (6, 6)) -> None:
        features = 3 * size[0] * size[1]
        super().__init__(shape, features, size, [0.5, 0.4, 0.3], [0.1, 0.2, 0.3])

    def embed(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_pictures_of_the_right_size_are_normalised_only() -> None:
    x = torch.rand(2, 3, 6, 6)
    expected = torch.stack(
        [
            (x[:, c] - m) / d
            for c, (m, d) in enumerate(zip((0.5, 0.4, 0.3), (0.1, 0.2, 0.3), strict=True))
        ],
        1,
    )
    torch.testing.assert_close(Flat((3, 6, 6))(x), expected.flatten(1))


def test_grey_is_repeated_for_each_colour() -> None:
    x = torch.rand(2, 1, 6, 6)
    torch.testing.assert_close(Flat((1, 6, 6))(x), Flat((3, 6, 6))(x.expand(-1, 3, -1, -1)))


@pytest.mark.parametrize("side", [3, 15])
def test_other_sizes_are_resized_as_pillow_does(side: int) -> None:
    picture = np.random.default_rng(0).random((side, side)).astype(np.float32)
    resized = np.asarray(Image.fromarray(picture).resize((6, 6), Image.Resampling.BILINEAR))
    x = torch.tensor(picture)[None, None]
    expected = (torch.tensor(resized.copy()) - 0.5) / 0.1
    red = Flat((1, side, side))(x).view(3, 6, 6)[0]
    torch.testing.assert_close(red, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("shape", [(5,), (2, 8, 8), (8, 8)])
def test_items_that_are_no_pictures_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(Refused, match="takes pictures"):
        Flat(shape)
