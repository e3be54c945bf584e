"""A custom data set outside the package."""

import numpy as np
from pydantic import NonNegativeFloat, PositiveInt

from metarun.data.classes import Facts, Images, Split, select


class Blobs:
    """Each class is a random image of 4×4 squares; items are noisy copies of it."""

    def __init__(self, *, classes: PositiveInt = 36, noise: NonNegativeFloat = 60.0) -> None:
        self.classes, self.noise = classes, noise

    def facts(self) -> dict[str, Facts | None]:
        return {split: Facts(self.classes // 3, 20) for split in ("train", "val", "test")}

    def load(self) -> dict[str, Split]:
        rng = np.random.default_rng(0)
        coarse = rng.uniform(0, 255, (self.classes, 1, 1, 4, 4))
        centres = coarse.repeat(7, axis=-2).repeat(7, axis=-1)
        noisy = centres + rng.normal(0, self.noise, (self.classes, 20, 1, 28, 28))
        items = noisy.clip(0, 255).astype(np.uint8).reshape(-1, 1, 28, 28)
        names = [f"blob{i:03d}" for i in range(self.classes)]
        images = Images.of(items, names, [20] * self.classes)
        third = self.classes // 3
        return {
            "train": select(images, names[:third]),
            "val": select(images, names[third : 2 * third]),
            "test": select(images, names[2 * third : 3 * third]),
        }
