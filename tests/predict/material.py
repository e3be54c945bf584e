"""Pictures of the user for tests: squares of one grey level a class, with noise."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image


def picture(file: Path, level: int, seed: int) -> Path:
    """Write a noisy grey picture of 20×20 pixels."""
    file.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng([seed, level]).integers(0, 30, (20, 20))
    Image.fromarray((level + noise).astype(np.uint8)).save(file)
    return file


def pictures(root: Path, counts: dict[str, int], first: int = 0) -> Path:
    """Write pictures `root/CLASS/NN.png`; the level of a class is set by its name's first letter.

    Args:
        counts: class → number of pictures.
        first: number of the first picture; other numbers are other pictures.
    """
    for name, count in counts.items():
        for number in range(first, first + count):
            picture(
                root / name / f"{number:02d}.png", 25 * ((ord(name[0]) - ord("a")) % 10), number
            )
    return root
