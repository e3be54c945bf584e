"""Training pictures changed at random, so that a learner does not rest on accidents in them.

An augmentation is called with the batch of a training episode and random numbers that it drew for
it; nothing here is used in validation or test.
"""

from __future__ import annotations

from typing import Annotated, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt
from torch import Tensor

from metarun.errors import Refused

GREY = (0.2989, 0.587, 0.114)  # luma of red, green and blue (ITU-R BT.601), as in torchvision


class Augmentation(Protocol):
    """What the sampler calls; a class of one's own with these two methods will do."""

    def draw(self, rng: np.random.Generator, items: int) -> np.ndarray:
        """The random numbers behind `items` items of one episode, (items, …)."""

    def __call__(self, x: Tensor, drawn: np.ndarray) -> Tensor:
        """The items x (M, *shape), each changed by its own row of `drawn`; a new tensor."""


def none(shape: tuple[int, ...]) -> None:
    """Nothing is changed, whatever the shape of an item."""


class ImageAugmentation:
    """Rotation, then a crop, then a mirror image, then brightness, contrast and saturation.

    Each picture draws for itself. The defaults are what Lee et al. 2019 (MetaOptNet) train CIFAR-FS
    with, in their code (github.com/kjunelee/MetaOptNet, data/CIFAR_FS.py): no rotation, and what
    comes into the picture from outside is 0.

    Args:
        shape: (C, H, W) of one item.
        crop: pixels of padding on each side before a random crop of the same size.
        flip: left and right change places in half of the pictures.
        jitter: brightness, contrast and, where there are three channels, saturation are multiplied
            by factors between 1 − jitter and 1 + jitter.
        rotation: by an angle between −rotation and rotation, in degrees, bilinear.

    Raises:
        Refused: items are not pictures, or are too small for `crop`.
    """

    def __init__(
        self,
        shape: tuple[int, ...],
        *,
        crop: NonNegativeInt = 4,
        flip: bool = True,
        jitter: Annotated[float, Field(ge=0, le=1)] = 0.4,
        rotation: Annotated[float, Field(ge=0, le=180)] = 0.0,
    ) -> None:
        if len(shape) != 3:
            raise Refused(
                f"augmentation: takes pictures (C, H, W), the data has {shape}; augmentation=none"
            )
        if crop > min(shape[1:]) // 2:
            raise Refused(
                f"augmentation.crop={crop}: for pictures of {shape[1]}×{shape[2]} it should be "
                f"at most {min(shape[1:]) // 2}"
            )
        self.crop, self.flip, self.jitter, self.rotation = crop, flip, jitter, rotation

    def draw(self, rng: np.random.Generator, items: int) -> np.ndarray:
        """(items, 7) between 0 and 1, all of them always: a key does not shift another's draws."""
        return rng.random((items, 7))

    def __call__(self, x: Tensor, drawn: np.ndarray) -> Tensor:
        """(M, C, H, W) between 0 and 1, and (M, 7) → (M, C, H, W) between 0 and 1."""
        down, right = (np.floor(drawn[:, :2] * (2 * self.crop + 1)) - self.crop).T
        mirrored = (drawn[:, 2] < 0.5) & self.flip
        if self.rotation:
            angles = np.deg2rad(self.rotation * (2 * drawn[:, 3] - 1))
            x = turned(x, angles, down, right, mirrored)
        elif self.crop or self.flip:
            x = shifted(x, down, right, mirrored)
        if self.jitter:
            x = jittered(x, 1 + self.jitter * (2 * drawn[:, 4:] - 1))
        return x


def shifted(x: Tensor, down: np.ndarray, right: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """(M, C, H, W) seen through a window that is moved by whole pixels, each then mirrored or not.

    Args:
        down, right: (M) whole numbers, how far the window moves; outside the picture it sees 0.
        mirrored: (M) bool.
    """
    height, width = x.shape[-2:]
    margin = int(max(np.abs(down).max(), np.abs(right).max()))
    corners = (np.stack([down, right], 1).astype(int) + margin).tolist()
    padded = F.pad(x, [margin] * 4)  # slicing its pictures one by one is quicker than an index
    seen = torch.stack(
        [
            picture[:, top : top + height, left : left + width]
            for picture, (top, left) in zip(padded, corners, strict=True)
        ]
    )
    chosen = torch.from_numpy(mirrored).to(x.device)
    return torch.where(chosen[:, None, None, None], seen.flip(-1), seen)


def turned(
    x: Tensor, angles: np.ndarray, down: np.ndarray, right: np.ndarray, mirrored: np.ndarray
) -> Tensor:
    """What `shifted` does to pictures that are turned first; one interpolation for all of it.

    Args:
        angles: (M) radians, counter-clockwise.
    """
    height, width = x.shape[-2:]
    # Where a pixel of the result comes from, counted from the middle of the picture.
    across = (np.arange(width) - (width - 1) / 2) * np.where(mirrored, -1, 1)[:, None]
    across = (across + right[:, None])[:, None, :]
    along = (np.arange(height) - (height - 1) / 2 + down[:, None])[:, :, None]
    cos, sin = np.cos(angles)[:, None, None], np.sin(angles)[:, None, None]
    grid = np.stack(
        [
            (cos * across - sin * along) * (2 / width),
            (sin * across + cos * along) * (2 / height),
        ],
        axis=-1,
    )
    grid = torch.from_numpy(grid).to(x.device, x.dtype)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


def jittered(x: Tensor, factors: np.ndarray) -> Tensor:
    """Brightness, contrast, saturation of (M, C, H, W), each blended by its factor and clipped.

    Args:
        factors: (M, 3) not negative; 1 leaves as it is, 0 makes black, even, grey.
    """
    brightness, contrast, saturation = (
        torch.from_numpy(f).to(x.device, x.dtype)[:, None, None, None] for f in factors.T.copy()
    )
    x = (x * brightness).clamp_(0, 1)
    even = _grey(x).mean((1, 2, 3), keepdim=True)
    x = torch.lerp(even, x, contrast).clamp_(0, 1)
    if x.shape[1] == 3:
        x = torch.lerp(_grey(x), x, saturation).clamp_(0, 1)
    return x


def _grey(x: Tensor) -> Tensor:
    """(M, C, H, W) → (M, 1, H, W); what is not red, green and blue counts alike."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return (GREY[0] * red).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])
