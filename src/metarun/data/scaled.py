"""Pictures of a data set, scaled to the size and channels that a learner was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from metarun.data.classes import Pick, Split
from metarun.errors import Refused

Shape = tuple[int, ...] | Mapping[str, tuple[int, ...]]
MODES = {1: "L", 3: "RGB"}  # channels of a picture → Pillow's mode


@dataclass(frozen=True)
class Scaled(Split):
    """A split whose pictures are scaled when they are drawn; `items` stay as they are prepared.

    Attributes:
        inputs: (C, H, W) of the drawn pictures.
    """

    inputs: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        return self.inputs

    @property
    def scaled(self) -> dict[str, list[int]]:
        """(C, H, W) of the pictures as they are prepared and as they are drawn."""
        return {"from": list(super().shape), "to": list(self.inputs)}

    def gather(self, picks: Sequence[Pick], shots: int) -> tuple[np.ndarray, ...]:
        sx, sy, qx, qy = super().gather(picks, shots)
        return self._scaled(sx), sy, self._scaled(qx), qy

    def _scaled(self, x: np.ndarray) -> np.ndarray:
        pictures = x.reshape(-1, *x.shape[2:])
        return np.stack([picture(p, self.inputs) for p in pictures]).reshape(
            *x.shape[:2], *self.inputs
        )


def picture(pixels: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    """A picture (C, H, W) uint8 in another shape, as `pictures.picture` would read it.

    Grey becomes three equal channels, and colours become grey by ITU-R BT.601. The centre is
    cropped to the proportions of `shape` and scaled by Pillow's bilinear filter with antialiasing.
    """
    from PIL import Image, ImageOps

    (channels, height, width), bilinear = shape, Image.Resampling.BILINEAR
    image = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    image = ImageOps.fit(image.convert(MODES[channels]), (width, height), bilinear)
    result = np.asarray(image)
    return result[None] if channels == 1 else result.transpose(2, 0, 1)


def as_trained(split: Any, inputs: Shape, data: str) -> Any:
    """The split with items of the shape that a learner was trained on.

    Args:
        inputs: that shape.
        data: the name of the data set, for messages.

    Raises:
        Refused: the items have another shape and are not pictures, or the learner's are not.
    """
    shape = split.spec.inputs if hasattr(split, "choose") else tuple(split.shape)
    own_size = hasattr(split, "choose") and split.spec.kind == "functions"  # up to an optimizer
    if shape == inputs or own_size:
        return split
    pictures = all(isinstance(s, tuple) and len(s) == 3 and s[0] in MODES for s in (shape, inputs))
    if not pictures or type(split) is not Split or split.items.dtype != np.uint8:
        raise Refused(
            f"data={data}: its items are {_described(shape)}, and the run was trained on "
            f"{_described(inputs)}; pictures can be scaled, other items should be of one shape"
        )
    return Scaled(**{f.name: getattr(split, f.name) for f in fields(Split)}, inputs=inputs)


def _described(shape: Shape) -> str:
    if isinstance(shape, Mapping):
        return f"named tensors ({', '.join(shape)})"
    size = "×".join(map(str, shape))
    return f"pictures of {size}" if len(shape) == 3 else f"vectors of length {size}"
