"""Drawings made by the tests, in the official formats of Omniglot and its one-shot challenge."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
from PIL import Image


def png(ink: np.ndarray) -> bytes:
    """1-bit, ink black."""
    file = io.BytesIO()
    Image.fromarray(~ink).save(file, "PNG")
    return file.getvalue()


def blot(rng: np.random.Generator) -> np.ndarray:
    """(105, 105) bool, in squares of 5 × 5 pixels."""
    return np.kron(rng.random((21, 21)) < 0.3, np.ones((5, 5), bool))


def zipped(path: Path, contents: dict[str, bytes]) -> Path:
    """Backwards, with what macOS adds and a name that climbs out."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("__MACOSX/run01/test/._item01.png", b"?")
        file.writestr("../../../run01/test/item01.png", b"?")
        for name in reversed(contents):
            file.writestr(name, contents[name])
    return path


def one_shot_runs(noise: float = 0.02) -> tuple[dict[str, bytes], np.ndarray]:
    """20 runs of 20 classes: path → content as in `all_runs.zip`, and the labels (20, 20).

    A test item is the drawing of its class with a share of its pixels turned over.
    """
    rng, contents = np.random.default_rng(0), {}
    labels = np.stack([rng.permutation(20) for _ in range(20)])
    for r, run_labels in enumerate(labels):
        run = f"run{r + 1:02d}"
        shown = [blot(rng) for _ in range(20)]
        lines = []
        for n, ink in enumerate(shown):
            contents[f"{run}/training/class{n + 1:02d}.png"] = png(ink)
        for k, label in enumerate(run_labels):
            asked = shown[label] ^ (rng.random((105, 105)) < noise)
            contents[f"{run}/test/item{k + 1:02d}.png"] = png(asked)
            lines.append(
                f"{run}/test/item{k + 1:02d}.png {run}/training/class{label + 1:02d}.png\n"
            )
        contents[f"{run}/class_labels.txt"] = "".join(lines).encode()
    return contents, labels
