"""Training on miniImageNet, validation and test on CUB (Chen et al., 2019, section 4.4)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import Field

from metarun.config.schema import Place
from metarun.data.classes import Facts, Split, joined
from metarun.data.preparation.pixels import FULL_SPAN, Broken, Span
from metarun.data.published_folder import PublishedFolder


class MiniImageNetToCUB:
    """All 100 classes of miniImageNet for training; the validation and test classes of CUB.

    This is the setting `cross` of the authors' code. The two sets are read and prepared as
    `metarun.data.published_folder.PublishedFolder` does it, with which they share their arrays.

    Args:
        root: folder of the folders `mini_imagenet` and `cub`, which hold the pictures.
        cache: folder of prepared data sets.
        size: height and width of a prepared picture, in pixels.
    """

    own_items = "pictures"

    def __init__(
        self, *, root: Place, cache: Place, size: Annotated[int, Field(ge=8, le=1024)] = 84
    ) -> None:
        self.mini, self.cub = (
            PublishedFolder(root=str(Path(root) / name), cache=cache, name=name, size=size)
            for name in ("mini_imagenet", "cub")
        )

    def facts(self) -> dict[str, Facts | None]:
        """Published number of classes and of items in the smallest class; reads no file."""
        mini, cub = self.mini.facts(), self.cub.facts()
        smallest = min(facts.smallest for facts in mini.values())
        train = Facts(sum(facts.classes for facts in mini.values()), smallest)
        return {"train": train, "val": cub["val"], "test": cub["test"]}

    def load(self) -> dict[str, Split]:
        """The three splits; the first call reads all pictures of both sets.

        Raises:
            Refused: classes are missing, files are unusable, or the cache is not writable.
        """
        mini, cub = self.mini.load(), self.cub.load()
        return {"train": reduce(joined, mini.values()), "val": cub["val"], "test": cub["test"]}

    def prepare_own(
        self, files: Sequence[str], span: Span = FULL_SPAN
    ) -> list[np.ndarray | Broken]:
        """Prepare pictures of the user: (3, size, size) uint8."""
        return self.cub.prepare_own(files, span)
