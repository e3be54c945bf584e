"""Items that a caller in Python gives: paths, sentences and pictures in memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image

from metarun.errors import Refused

CHANNELS = (1, 3, 4)
AS_PNG = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")  # modes that a PNG file keeps
AS_TIFF = ("I", "F")
VECTORS = "in a file: features are read from .npz files only"
FORMS = "a folder or a file, a mapping from classes to items, or a pair (items, labels)"

Result = TypeVar("Result")


class Given:
    """Gives each item a name, which is the path or the sentence itself if it is one.

    Args:
        kind: `pictures`, `recordings`, `sentences` or `vectors`.

    Attributes:
        pictures: name → picture, of those in memory.
        labels: name of a class → the caller's label.
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.pictures: dict[str, Image.Image] = {}
        self.labels: dict[str, Any] = {}

    def classes(self, support: Any) -> dict[str, list[str]]:
        """The names of the items of each class.

        Args:
            support: a mapping from labels to sequences of items, or a pair (items, labels).

        Raises:
            Refused: it has another form, or an item cannot be used.
        """
        if isinstance(support, Mapping):
            items = {label: self._named(f"support[{label!r}]", support[label]) for label in support}
        elif isinstance(support, tuple) and len(support) == 2:
            names = self._named("support", support[0])
            labels = list(getattr(support[1], "tolist", lambda: support[1])())
            if len(names) != len(labels):
                raise Refused(f"support: has {len(names)} items and {len(labels)} labels")
            order = sorted(set(labels)) if _comparable(labels) else list(dict.fromkeys(labels))
            items = {label: [] for label in order}
            for name, label in zip(names, labels, strict=True):
                items[label].append(name)
        else:
            raise Refused(f"support: is a {type(support).__name__}; should be {FORMS}")
        self.labels = {str(label): label for label in items}
        if len(self.labels) < len(items):
            raise Refused("support: two classes have the same name as text")
        if empty := [name for name, label in self.labels.items() if not items[label]]:
            raise Refused(*(f"support: the class {name} has no items" for name in empty))
        return {name: items[label] for name, label in self.labels.items()}

    def query(self, items: Any) -> list[str]:
        """The names of the items to label.

        Raises:
            Refused: it is no sequence, or an item cannot be used.
        """
        if not (names := self._named("query", items)):
            raise Refused("query: has no items")
        return names

    def _named(self, place: str, items: Any) -> list[str]:
        if isinstance(items, str | os.PathLike | Image.Image) or not hasattr(items, "__iter__"):
            raise Refused(f"{place}: is a {type(items).__name__}; should be a sequence of items")
        return [self._name(f"{place}[{number}]", item) for number, item in enumerate(items)]

    def _name(self, name: str, item: Any) -> str:
        if isinstance(item, str | os.PathLike) and self.kind != "vectors":
            return " ".join(str(item).split()) if self.kind == "sentences" else os.fspath(item)
        if self.kind != "pictures":
            should = {"sentences": "a sentence", "recordings": "a path"}.get(self.kind, VECTORS)
            raise Refused(f"{name}: is a {type(item).__name__}; should be {should}")
        self.pictures[name] = as_picture(item, name)
        return name


def _comparable(labels: Sequence[Any]) -> bool:
    return len({type(label) for label in labels}) == 1


def as_picture(item: Any, name: str) -> Image.Image:
    """A picture of Pillow, from one or from an array.

    Args:
        item: a picture; an array (H, W) or (H, W, C); or a tensor of torch (H, W) or (C, H, W).
            C is 1, 3 or 4. Values are uint8 from 0 to 255, for (H, W) also uint16 from 0 to 65535,
            or floating-point from 0 to 1.
        name: for messages.

    Raises:
        Refused: it is something else.
    """
    if isinstance(item, Image.Image):
        return item
    if isinstance(item, torch.Tensor):
        item = item.detach().cpu()
        item = (item.permute(1, 2, 0) if item.ndim == 3 else item).numpy()
    pixels = np.asarray(item)
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in CHANNELS):
        raise Refused(
            f"{name}: has the shape {pixels.shape}; should be a path, a picture of Pillow, an "
            "array (H, W) or (H, W, C), or a tensor (C, H, W), where C is 1, 3 or 4"
        )
    if pixels.dtype.kind == "f":
        if not (pixels.min() >= 0 and pixels.max() <= 1):
            raise Refused(f"{name}: floating-point values should be from 0 (black) to 1 (white)")
        pixels = np.rint(pixels * 255).astype(np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    if pixels.dtype != np.uint8 and (pixels.dtype, pixels.ndim) != (np.uint16, 2):
        raise Refused(
            f"{name}: has values of type {pixels.dtype}; should be uint8, for (H, W) also uint16, "
            "or floating-point from 0 to 1"
        )
    return Image.fromarray(pixels)


def on_files(
    function: Callable[[Sequence[str]], Result], pictures: Mapping[str, Image.Image]
) -> Callable[[Sequence[str]], Result]:
    """`function`, which takes paths, as a function that also takes names of pictures in memory.

    These are stored in temporary files meanwhile, so that each data set prepares them as it
    prepares files.
    """

    def of_names(names: Sequence[str]) -> Result:
        with TemporaryDirectory(prefix="metarun-") as folder:
            return function(
                [
                    _store(pictures[name], Path(folder, str(number))) if name in pictures else name
                    for number, name in enumerate(names)
                ]
            )

    return of_names if pictures else function


def _store(picture: Image.Image, path: Path) -> str:
    if picture.mode not in (*AS_PNG, *AS_TIFF):
        picture = picture.convert("RGB")
    path = path.with_suffix(".tif" if picture.mode in AS_TIFF else ".png")
    picture.save(
        path, exif=picture.getexif(), **({} if path.suffix == ".tif" else {"compress_level": 1})
    )
    return str(path)
