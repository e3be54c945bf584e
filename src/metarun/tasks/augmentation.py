"""Random augmentation of training images. Validation and test images are never augmented."""

from __future__ import annotations

from typing import Annotated, Protocol

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field, NonNegativeInt
from torch import Tensor

from metarun.errors import Refused

GREY = (0.2989, 0.587, 0.114)  # weights of red, green and blue (ITU-R BT.601), as in torchvision


class Augmentation(Protocol):
    """Interface of augmentations; any class with these two methods can be used."""

    def draw(self, rng: np.random.Generator, items: int) -> np.ndarray:
        """Draw random numbers (items, …) for the items of one episode."""

    def __call__(self, x: Tensor, draws: np.ndarray) -> Tensor:
        """Return a new tensor with item i of x (M, *shape) augmented according to `draws[i]`."""


def none(shape: tuple[int, ...]) -> None:
    """Return no augmentation, for items of any shape (`augmentation=none`)."""


class ImageAugmentation:
    """Random rotation, crop, horizontal flip and colour jitter, in this order.

    Each image has its own random numbers. The defaults are those of Lee et al. 2019 (MetaOptNet)
    for CIFAR-FS, from their code (github.com/kjunelee/MetaOptNet, data/CIFAR_FS.py), without
    rotation. Pixels from outside the image are 0.

    Args:
        shape: (C, H, W) of one item.
        crop: pixels of padding on each side before a random crop to the original size.
        flip: flip images left to right with probability 0.5.
        jitter: multiply brightness, contrast and, for three channels, saturation by factors between
            1 − jitter and 1 + jitter.
        rotation: rotate by an angle between −rotation and rotation degrees, bilinearly.

    Raises:
        Refused: if items are not images or are too small for `crop`.
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
                f"augmentation: takes pictures (C, H, W), the data has {shape}; "
                "use augmentation=none"
            )
        if crop > min(shape[1:]) // 2:
            raise Refused(
                f"augmentation.crop={crop}: for pictures of {shape[1]}×{shape[2]} it should be "
                f"at most {min(shape[1:]) // 2}"
            )
        self.crop, self.flip, self.jitter, self.rotation = crop, flip, jitter, rotation

    def draw(self, rng: np.random.Generator, items: int) -> np.ndarray:
        """Draw (items, 7) numbers in [0, 1); a key that is switched off does not change them."""
        return rng.random((items, 7))

    def __call__(self, x: Tensor, draws: np.ndarray) -> Tensor:
        """Augment images (M, C, H, W) with values in [0, 1] according to `draws` (M, 7)."""
        down, right = (np.floor(draws[:, :2] * (2 * self.crop + 1)) - self.crop).T
        mirrored = (draws[:, 2] < 0.5) & self.flip
        if self.rotation:
            angles = np.deg2rad(self.rotation * (2 * draws[:, 3] - 1))
            x = turned(x, angles, down, right, mirrored)
        elif self.crop or self.flip:
            x = shifted(x, down, right, mirrored)
        if self.jitter:
            x = jittered(x, 1 + self.jitter * (2 * draws[:, 4:] - 1))
        return x


def shifted(x: Tensor, down: np.ndarray, right: np.ndarray, mirrored: np.ndarray) -> Tensor:
    """Translate images (M, C, H, W) by whole pixels with zero padding, then flip some of them.

    Args:
        down, right: (M) integers: offset of the crop window in pixels.
        mirrored: (M) bool: flip left to right.
    """
    height, width = x.shape[-2:]
    margin = int(max(np.abs(down).max(), np.abs(right).max()))
    corners = (np.stack([down, right], 1).astype(int) + margin).tolist()
    padded = F.pad(x, [margin] * 4)  # slicing image by image is faster than indexing
    cropped = torch.stack(
        [
            image[:, top : top + height, left : left + width]
            for image, (top, left) in zip(padded, corners, strict=True)
        ]
    )
    flipped = torch.from_numpy(mirrored).to(x.device)
    return torch.where(flipped[:, None, None, None], cropped.flip(-1), cropped)


def turned(
    x: Tensor, angles: np.ndarray, down: np.ndarray, right: np.ndarray, mirrored: np.ndarray
) -> Tensor:
    """Rotate images, then apply `shifted`, with a single interpolation.

    Args:
        angles: (M) in radians, counter-clockwise.
        down, right, mirrored: see `shifted`.
    """
    height, width = x.shape[-2:]
    # Source coordinates of each output pixel, relative to the centre of the image.
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
    """Change brightness, contrast and saturation of images (M, C, H, W), with clipping to [0, 1].

    Args:
        factors: (M, 3) factors ≥ 0. A factor of 1 changes nothing; 0 gives a black image, an image
            of uniform grey and a greyscale image, respectively.
    """
    brightness, contrast, saturation = (
        torch.from_numpy(f).to(x.device, x.dtype)[:, None, None, None] for f in factors.T.copy()
    )
    x = (x * brightness).clamp_(0, 1)
    mean = _grey(x).mean((1, 2, 3), keepdim=True)
    x = torch.lerp(mean, x, contrast).clamp_(0, 1)
    if x.shape[1] == 3:
        x = torch.lerp(_grey(x), x, saturation).clamp_(0, 1)
    return x


def _grey(x: Tensor) -> Tensor:
    """Convert to greyscale, (M, C, H, W) → (M, 1, H, W). Unless C is 3, take the channel mean."""
    if x.shape[1] != 3:
        return x.mean(1, keepdim=True)
    red, green, blue = x.split(1, dim=1)
    return (GREY[0] * red).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2])
